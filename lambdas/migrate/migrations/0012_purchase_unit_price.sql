-- The price at which each unit was sold.
ALTER TABLE purchase
    ADD COLUMN IF NOT EXISTS unit_price BIGINT NULL COMMENT 'in South Korean won; NULL: sold before release 1.1'
