// An OpenAI-compatible server that repeats what it is told, a word every so often, so that one can see it stream.
import { createServer } from "node:http";

const [port, wait] = process.argv.slice(2).map(Number);
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const models = { object: "list", data: [{ id: "slow", object: "model", created: 1, owned_by: "tests" }] };
const json = (response, body) => response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(body));

createServer(async (request, response) => {
  if (request.method === "GET") return json(response, models);
  let body = "";
  for await (const piece of request) body += piece;
  const said = JSON.parse(body).messages.findLast((message) => message.role === "user").content;
  let gone = false;
  response.on("close", () => (gone = !response.writableFinished));
  response.writeHead(200, { "content-type": "text/event-stream" });
  const send = (delta, finish_reason = null) => {
    const choices = [{ index: 0, delta, finish_reason }];
    const chunk = { id: "chatcmpl-1", object: "chat.completion.chunk", created: 1, model: "slow", choices };
    response.write(`data: ${JSON.stringify(chunk)}\n\n`);
  };
  send({ role: "assistant", content: "" });
  for (const word of said.match(/\S+\s*/g) ?? []) {
    if (gone) return;
    send({ content: word });
    await pause(wait);
  }
  send({}, "stop");
  response.end("data: [DONE]\n\n");
}).listen(port, "127.0.0.1");
