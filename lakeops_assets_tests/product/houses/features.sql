SELECT * EXCEPT (Sale_Price, _source_file, _ingested_at, _batch_id, _rescued_data),
    ln(Sale_Price) AS log_price
FROM houses.sales
