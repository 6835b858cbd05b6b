// The process of one side of a comparison, in Node. bench/worker.py describes the commands.
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";

const login = JSON.parse(process.env.BENCH_LOGIN);
const side = await import(`./${process.argv[2]}.js`);
const events = JSON.parse(process.env.BENCH_EVENTS);
const database = {
  host: login.host,
  port: login.port,
  user: "admin",
  password: login.passwords.admin,
  database: login.database,
  charset: "utf8mb4",
  ssl: { ca: readFileSync(login.ca_file) },
};

// Returns the handler's response to a new copy of the event.
async function call(handler, scenario) {
  const event = structuredClone(events[scenario]);
  const response = await handler(event, {});
  if (response.statusCode !== 200) throw new Error(JSON.stringify(response));
  return response;
}

const sold = (response) => response.body.includes("구매 완료");
const processorSeconds = () => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
};

async function oneByOne(handler, scenario, calls) {
  const seconds = [];
  const responses = [];
  const copies = Array.from({ length: calls }, () => structuredClone(events[scenario]));
  const processor = processorSeconds();
  const began = performance.now();
  for (const event of copies) {
    const sent = performance.now();
    responses.push(await handler(event, {}));
    seconds.push((performance.now() - sent) / 1000);
  }
  const elapsed = (performance.now() - began) / 1000;
  const failed = responses.find((response) => response.statusCode !== 200);
  if (failed) throw new Error(JSON.stringify(failed));
  return {
    elapsed,
    processor: processorSeconds() - processor,
    seconds,
    sold: responses.filter(sold).length,
  };
}

async function atTheSameTime(handlers, scenario, duration) {
  const seconds = [];
  let count = 0;
  const processor = processorSeconds();
  const began = performance.now();
  const run = async (handler) => {
    while (performance.now() < began + duration * 1000) {
      const sent = performance.now();
      const response = await call(handler, scenario);
      count += sold(response); // not in one line: `count` would be read before the call
      seconds.push((performance.now() - sent) / 1000);
    }
  };
  await Promise.all(handlers.map(run));
  return {
    elapsed: (performance.now() - began) / 1000,
    processor: processorSeconds() - processor,
    seconds,
    sold: count,
  };
}

let handlers = [side.handler(database)];
for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  let result = {};
  if (command.open) {
    while (handlers.length < command.open) handlers.push(side.handler(database));
    handlers = handlers.slice(0, command.open);
  } else if (command.calls) {
    result = await oneByOne(handlers[0], command.scenario, command.calls);
  } else {
    result = await atTheSameTime(handlers, command.scenario, command.seconds);
  }
  process.stdout.write(`${JSON.stringify(result)}\n`);
}
process.exit(0);
