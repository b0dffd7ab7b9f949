-- One row per customer: contract, services and charges as last delivered, and the label once known.
SELECT
    c.customer_id,
    c.snapshot_date,
    c.female,
    c.senior_citizen,
    c.partner,
    c.dependents,
    c.tenure,
    c.phone_service,
    c.multiple_lines,
    c.internet_service,
    c.online_security,
    c.online_backup,
    c.device_protection,
    c.tech_support,
    c.streaming_tv,
    c.streaming_movies,
    c.contract,
    c.paperless_billing,
    c.payment_method,
    c.monthly_charges,
    c.total_charges,
    l.churn
FROM churn.customers AS c
LEFT JOIN (
    SELECT customer_id, churn
    FROM churn.churn_labels
    QUALIFY row_number() OVER (
        PARTITION BY customer_id ORDER BY labelled_on DESC, _batch_id DESC, _source_file DESC
    ) = 1
) AS l ON l.customer_id = c.customer_id
-- A customer who was delivered twice counts once: the latest row wins.
QUALIFY row_number() OVER (
    PARTITION BY c.customer_id
    ORDER BY c.snapshot_date DESC, c._batch_id DESC, c._source_file DESC
) = 1
