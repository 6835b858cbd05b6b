-- The first product, with an opening stock of ten.
INSERT IGNORE INTO product (product_id, slug, sku, name, price, stock, factory_id)
VALUES ('e3957c48-2e06-4d5e-8404-4ff32e8b8f9f', 'donut', 'CP-502101', '부산도너츠', 19900, 10, 'FF-500293')
