-- A product that is removed from the catalogue keeps its row, for its orders and for its return.
ALTER TABLE product
    ADD COLUMN IF NOT EXISTS in_catalogue BOOLEAN NOT NULL DEFAULT TRUE
        COMMENT 'FALSE: customers do not see the product any more'
