-- The outbox: an order is a row in this table before its notification is published.
-- The procedure `claim_orders` finds orders at one end of an index, however many are due: the oldest of one number
-- of publications with `production_order_due`, and the newest that were not claimed since their last publication
-- with `production_order_untried`. Orders that are never due again have no next_attempt_at, so that both indexes
-- keep them apart from the due ones.
CREATE TABLE IF NOT EXISTS production_order (
    order_id        CHAR(36)     CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY
        COMMENT 'public: it gives no power over the order',
    callback_token  VARCHAR(64)  CHARACTER SET ascii COLLATE ascii_bin NOT NULL
        COMMENT 'secret: whoever has it can report the arrival of this order, once',
    product_id      CHAR(36)     CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    factory_id      VARCHAR(200) NOT NULL COMMENT 'as the customer wrote it, or the product''s own',
    quantity        BIGINT       NOT NULL,
    requester       VARCHAR(200) NOT NULL COMMENT 'the customer''s name: personal data',
    status          ENUM ('requested', 'published', 'arrived', 'stuck') NOT NULL DEFAULT 'requested',
    requested_at    DATETIME(6)  NOT NULL COMMENT 'UTC',
    published_at    DATETIME(6)  NULL COMMENT 'UTC, of the last publication',
    arrived_at      DATETIME(6)  NULL COMMENT 'UTC',
    publications    INT          NOT NULL DEFAULT 0 COMMENT 'how many times the order was published',
    attempts        INT          NOT NULL DEFAULT 0 COMMENT 'claims since the last publication',
    next_attempt_at DATETIME(6)  NULL COMMENT 'UTC; the relay claims the order from then on; NULL: never',
    claim           CHAR(36)     CHARACTER SET ascii COLLATE ascii_bin NULL
        COMMENT 'the last claim that leased the order',
    CONSTRAINT production_order_quantity CHECK (quantity > 0),
    INDEX production_order_claim (claim),
    INDEX production_order_status (status, requested_at),
    INDEX production_order_due (publications, next_attempt_at),
    INDEX production_order_untried (publications, attempts, next_attempt_at)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci
    COMMENT 'outbox of production orders'
