-- Delete the first product if nobody has used it yet: from now on the catalogue declares it, with its opening stock.
-- Once it has an entry in the books, it is the catalogue's.
DELETE FROM product
WHERE product_id = 'e3957c48-2e06-4d5e-8404-4ff32e8b8f9f' AND stock = 10
  AND NOT EXISTS (SELECT 1 FROM purchase)
  AND NOT EXISTS (SELECT 1 FROM production_order)
  AND NOT EXISTS (SELECT 1 FROM stock_entry)
