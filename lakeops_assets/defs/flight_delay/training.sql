-- One row per flight that arrived: what was known two hours before it should leave, and how it went.
-- Cancelled and diverted flights have no arrival, so they are scored and never trained on. An arrival
-- that was delivered again counts once.
SELECT
    f.*,
    CASE WHEN o.delay_minutes > 15 THEN 'late' ELSE 'on time' END AS arrival
FROM flight_delay.features AS f
INNER JOIN (
    SELECT flight_id, delay_minutes
    FROM flight_delay.outcomes
    WHERE event = 'arrived'
    QUALIFY row_number() OVER (PARTITION BY flight_id ORDER BY known_at DESC, delay_minutes DESC) = 1
) AS o ON o.flight_id = f.flight_id
