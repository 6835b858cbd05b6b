-- The number of rows that a product is sold from. The first one, slot 0, is the product's own row.
ALTER TABLE product
    ADD COLUMN IF NOT EXISTS slots INT NOT NULL DEFAULT 1
        COMMENT 'rows that the product is sold from: this one and slots - 1 in product_slot',
    ADD CONSTRAINT IF NOT EXISTS product_slots CHECK (slots >= 1)
