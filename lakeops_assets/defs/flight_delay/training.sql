-- One row per flight that arrived: what was known two hours before it should leave, and how it went.
-- Cancelled and diverted flights have no arrival, so they are scored and never trained on.
SELECT
    f.*,
    CASE WHEN o.delay_minutes > 15 THEN 'late' ELSE 'on time' END AS arrival
FROM flight_delay.features AS f
INNER JOIN flight_delay.outcomes AS o ON o.flight_id = f.flight_id
WHERE o.event = 'arrived'
