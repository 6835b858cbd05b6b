"""The queries of operators' commands, by the title of their tables. The handler adds a LIMIT."""

ROWS = 1000
"""The most rows that a table has, and the most orders that one `remind` lists."""

BY_STATUS = """
SELECT status, COUNT(*) AS orders, SUM(quantity) AS quantity, {oldest} AS oldest_seconds
FROM production_order FORCE INDEX ({index}) WHERE {condition} GROUP BY status"""
OPEN = BY_STATUS.format(
    oldest="TIMESTAMPDIFF(SECOND, MIN(requested_at), UTC_TIMESTAMP())",
    index="production_order_status",
    condition="status IN ('requested', 'published', 'stuck')",
)
ARRIVED = BY_STATUS.format(
    oldest="NULL",
    index="production_order_named",
    condition="requester_blanked IN (FALSE, TRUE)"
    " AND arrived_at > UTC_TIMESTAMP() - INTERVAL 1 DAY",
)
LISTED = """
SELECT order_id, status, product_id, quantity, publications, attempts,
       requested_at, published_at, next_attempt_at
FROM production_order WHERE status IN ({statuses}) ORDER BY requested_at"""
ORDERS = {  # At a terminal, the last lines are those that are read first.
    "published orders that have not arrived, the oldest first": LISTED.format(
        statuses="'published'"
    ),
    "requested and stuck orders, the oldest first": LISTED.format(statuses="'requested', 'stuck'"),
    # Not all that have ever arrived: a scan of them takes 2 seconds per million.
    "production orders by status (arrived: in the last day)": f"{OPEN}\nUNION ALL{ARRIVED}",
}
STUCK = {
    "stuck orders, the oldest first": """
SELECT order_id, slug, product_id, quantity, publications, requested_at, published_at
FROM production_order LEFT JOIN product USING (product_id)
WHERE status = 'stuck' ORDER BY requested_at""",
}
ORDER = """
SELECT order_id, status, slug, product_id, quantity, publications, attempts,
       requested_at, published_at, stuck_at, recorded_at AS reminded_at, reminded_by, arrived_at,
       next_attempt_at
FROM production_order
LEFT JOIN product USING (product_id)
LEFT JOIN operation ON operation_id = reminded_by
WHERE order_id = %s"""
BOOKS = {
    "books": """
SELECT slug, entries, purchases, arrivals, entries - purchases + arrivals AS expected, stock,
       stock - (entries - purchases + arrivals) AS difference
FROM (
    SELECT slug, product.stock + COALESCE(other_slots.stock, 0) AS stock,
           COALESCE(entries, 0) AS entries, COALESCE(purchases, 0) AS purchases,
           COALESCE(arrivals, 0) AS arrivals
    FROM product
    LEFT JOIN (SELECT product_id, SUM(stock) AS stock FROM product_slot
               GROUP BY product_id) AS other_slots USING (product_id)
    LEFT JOIN (SELECT product_id, SUM(amount) AS entries FROM stock_entry
               GROUP BY product_id) AS entry USING (product_id)
    LEFT JOIN (SELECT product_id, SUM(quantity) AS purchases FROM purchase
               GROUP BY product_id) AS sold USING (product_id)
    LEFT JOIN (SELECT product_id, SUM(quantity) AS arrivals FROM production_order
               WHERE status = 'arrived' GROUP BY product_id) AS arrived USING (product_id)
) AS books
ORDER BY slug""",
}
"""`difference` is 0 if the books balance."""
