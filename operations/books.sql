-- Compares the stock of each product with its books. `difference` is 0 if the books balance.
-- It is one statement, so it reads one snapshot and takes no lock: the shop may be selling meanwhile.
SELECT slug, entries, purchases, arrivals, entries - purchases + arrivals AS expected, stock,
       stock - (entries - purchases + arrivals) AS difference
FROM (
    SELECT slug, product.stock + COALESCE(other_slots.stock, 0) AS stock, COALESCE(entries, 0) AS entries,
           COALESCE(purchases, 0) AS purchases, COALESCE(arrivals, 0) AS arrivals
    FROM product
    LEFT JOIN (SELECT product_id, SUM(stock) AS stock FROM product_slot GROUP BY product_id) AS other_slots
        USING (product_id)
    LEFT JOIN (SELECT product_id, SUM(amount) AS entries FROM stock_entry GROUP BY product_id) AS entry
        USING (product_id)
    LEFT JOIN (SELECT product_id, SUM(quantity) AS purchases FROM purchase GROUP BY product_id) AS sold
        USING (product_id)
    LEFT JOIN (SELECT product_id, SUM(quantity) AS arrivals FROM production_order WHERE status = 'arrived'
               GROUP BY product_id) AS arrived
        USING (product_id)
) AS books
ORDER BY slug;
