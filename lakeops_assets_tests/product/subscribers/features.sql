SELECT
    subscriber,
    state,
    account_length,
    international_plan,
    voice_mail_plan,
    number_vmail_messages,
    total_day_minutes,
    total_day_calls,
    total_eve_minutes,
    total_night_minutes,
    total_intl_minutes,
    total_intl_calls,
    total_day_charge + total_eve_charge + total_night_charge + total_intl_charge AS total_charge,
    number_customer_service_calls,
    churn
FROM subscribers.calls
QUALIFY row_number() OVER (PARTITION BY subscriber ORDER BY _batch_id DESC) = 1
