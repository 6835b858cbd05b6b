-- How far personal data was blanked in tables whose primary key is the order of their rows' age.
-- The table `purchase` is the largest and gets no index for this: building one reads it all, and each purchase would
-- pay for it.
CREATE TABLE IF NOT EXISTS blanking_progress (
    table_name VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
    last_id    BIGINT      NOT NULL COMMENT 'the rows up to this one are blanked'
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci
    COMMENT 'how far personal data was blanked'
