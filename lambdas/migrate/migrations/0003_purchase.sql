-- The ledger of purchases: one row per purchase.
-- Only the procedure `checkout` adds rows, in the same transaction in which it reduces the stock.
-- product_id has no foreign key. `checkout` has read and locked the product's row before it adds a purchase, so
-- the product exists, and to check it again would only hold that lock for longer.
CREATE TABLE IF NOT EXISTS purchase (
    purchase_id  BIGINT       NOT NULL AUTO_INCREMENT PRIMARY KEY,
    product_id   CHAR(36)     CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    quantity     BIGINT       NOT NULL,
    requester    VARCHAR(200) NOT NULL COMMENT 'the customer''s name: personal data',
    purchased_at DATETIME(6)  NOT NULL COMMENT 'UTC',
    CONSTRAINT purchase_quantity CHECK (quantity > 0)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci
    COMMENT 'ledger of purchases'
