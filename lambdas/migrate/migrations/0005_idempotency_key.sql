-- The first answer to each keyed checkout, kept in the transaction of the sale or the order itself.
CREATE TABLE IF NOT EXISTS idempotency_key (
    idempotency_key VARCHAR(255) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
    request_hash    BINARY(32)   NOT NULL COMMENT 'SHA-256 of the request as understood',
    purchased       BOOLEAN      NOT NULL,
    stock           BIGINT       NOT NULL,
    order_id        CHAR(36)     CHARACTER SET ascii COLLATE ascii_bin NULL,
    created_at      DATETIME(6)  NOT NULL COMMENT 'UTC',
    INDEX idempotency_key_created_at (created_at)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci
