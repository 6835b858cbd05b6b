// A handler without a framework, on a pool of one connection: a Lambda function serves one request at a time.
import mysql from "mysql2/promise";

const response = (statusCode, body) => ({
  statusCode,
  headers: { "content-type": "application/json; charset=utf-8" },
  body: JSON.stringify(body),
});

export function handler(database) {
  const pool = mysql.createPool({ ...database, connectionLimit: 1 });

  async function getProduct(event) {
    const [[product]] = await pool.execute(
      "SELECT product_id, sku, name, price, stock, factory_id FROM product WHERE slug = ?",
      [event.pathParameters.slug],
    );
    return product ? response(200, product) : response(400, { message: "상품 없음" });
  }

  async function checkout(event) {
    const quantity = JSON.parse(event.body).MessageAttributeProductCnt;
    if (!Number.isInteger(quantity) || quantity < 1 || quantity > 1000) {
      return response(400, { message: "잘못된 수량" });
    }
    const [result] = await pool.query(
      "UPDATE product SET stock = LAST_INSERT_ID(stock - ?) WHERE slug = 'donut' AND stock >= ?",
      [quantity, quantity],
    );
    if (result.affectedRows === 1) {
      const stock = result.insertId;
      return response(200, { message: `구매 완료! 남은 재고: ${stock}`, purchased: true, stock });
    }
    const [[{ stock }]] = await pool.query("SELECT stock FROM product WHERE slug = 'donut'");
    return response(200, { message: `구매 실패! 남은 재고: ${stock}`, purchased: false, stock });
  }

  const routes = { "GET /product/{slug}": getProduct, "POST /checkout": checkout };
  return async (event) =>
    routes[event.routeKey]?.(event) ?? response(404, { error: "Not Found" });
}
