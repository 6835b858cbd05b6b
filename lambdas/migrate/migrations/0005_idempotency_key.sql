-- The first response to each checkout with an Idempotency-Key.
-- The procedure `checkout` records it in the transaction of the purchase or of the production order.
CREATE TABLE IF NOT EXISTS idempotency_key (
    idempotency_key VARCHAR(255) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
    request_hash    BINARY(32)   NOT NULL COMMENT 'SHA-256 of the request that used the key first',
    purchased       BOOLEAN      NOT NULL,
    stock           BIGINT       NOT NULL COMMENT 'as the response said',
    order_id        CHAR(36)     CHARACTER SET ascii COLLATE ascii_bin NULL COMMENT 'NULL if purchased',
    created_at      DATETIME(6)  NOT NULL COMMENT 'UTC',
    INDEX idempotency_key_created_at (created_at)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci
    COMMENT 'first response to each checkout with an Idempotency-Key'
