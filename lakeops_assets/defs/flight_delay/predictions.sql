-- One row per scored flight: its last score, and how it went once that is known.
SELECT s.*, t.arrival
FROM (
    SELECT *
    FROM flight_delay.scores
    QUALIFY row_number() OVER (
        PARTITION BY flight_id ORDER BY features_version DESC, scored_at DESC
    ) = 1
) AS s
LEFT JOIN flight_delay.training AS t ON t.flight_id = s.flight_id
