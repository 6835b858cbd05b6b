-- The other slots of products that are sold from more than one row, so that several buyers can hold locks at the same
-- time.
-- Only the procedure `change_stock` inserts and deletes rows.
CREATE TABLE IF NOT EXISTS product_slot (
    product_id CHAR(36) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    slot       INT      NOT NULL COMMENT '1 to slots - 1',
    stock      BIGINT   NOT NULL COMMENT 'pieces that can be sold now from this slot',
    PRIMARY KEY (product_id, slot),
    CONSTRAINT product_slot_number CHECK (slot >= 1),
    CONSTRAINT product_slot_stock CHECK (stock >= 0),
    CONSTRAINT product_slot_product FOREIGN KEY (product_id) REFERENCES product (product_id) ON DELETE CASCADE
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci
    COMMENT 'slots 1 to slots - 1 of products that are sold from more than one row'
