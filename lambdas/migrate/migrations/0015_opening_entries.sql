-- The opening entry of each product from before 1.1, such that its books balance. The shop may be selling meanwhile:
-- one statement reads one snapshot, and each transaction of the shop keeps the balance.
INSERT INTO stock_entry (product_id, kind, amount, reason, recorded_by, recorded_at)
SELECT product_id, 'opening', stock + COALESCE(sold, 0) - COALESCE(arrived, 0),
       'stock when the books began', 'migrate', UTC_TIMESTAMP(6)
FROM product
LEFT JOIN (SELECT product_id, SUM(quantity) AS sold FROM purchase GROUP BY product_id) AS purchases
    USING (product_id)
LEFT JOIN (SELECT product_id, SUM(quantity) AS arrived FROM production_order WHERE status = 'arrived'
           GROUP BY product_id) AS arrivals
    USING (product_id)
WHERE NOT EXISTS (SELECT 1 FROM stock_entry WHERE stock_entry.product_id = product.product_id)
