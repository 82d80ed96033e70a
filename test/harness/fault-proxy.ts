import { once } from "node:events";
import { createServer, type IncomingMessage, request, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** One request, as a rule and a test see it. */
export interface SeenRequest {
  readonly method: string;
  /** Path and query. */
  readonly url: string;
  readonly headers: IncomingMessage["headers"];
}

export type Fault =
  /** Answers in the server's place. */
  | { readonly kind: "answer"; readonly status: number; readonly body?: string }
  /** Says nothing, and keeps the connection. */
  | { readonly kind: "stall" }
  /** Cuts the connection after so many bytes of the request's body. */
  | { readonly kind: "cut-request"; readonly after: number }
  /** Cuts it after so many bytes of the answer's body. */
  | { readonly kind: "cut-response"; readonly after: number }
  /** Says no more after so many bytes of the answer's body. */
  | { readonly kind: "stall-response"; readonly after: number }
  /** Lets the server do it, and cuts the connection before the answer. */
  | { readonly kind: "lose-answer" }
  /** Lets the server do it, and says nothing of it; tells here when it is done. */
  | { readonly kind: "hold-answer"; readonly onAnswer: () => void };

export interface FaultProxy {
  readonly endpoint: string;
  /** Every request since the start or the last `heal`. */
  readonly requests: readonly SeenRequest[];
  /** The next requests that match get the fault, so many of them; by default all. */
  fail(matches: (request: SeenRequest) => boolean, fault: Fault, times?: number): void;
  /** No more faults, and an empty list of requests. */
  heal(): void;
  close(): Promise<void>;
}

/** What the requests of S3 look like. */
export const isRequest = {
  any: () => true,
  put: ({ method, url }: SeenRequest) => method === "PUT" && !url.includes("uploadId="),
  begin: ({ method, url }: SeenRequest) => method === "POST" && /[?&]uploads/.test(url),
  part: ({ method, url }: SeenRequest) => method === "PUT" && url.includes("partNumber="),
  complete: ({ method, url }: SeenRequest) => method === "POST" && url.includes("uploadId="),
  abort: ({ method, url }: SeenRequest) => method === "DELETE" && url.includes("uploadId="),
  remove: ({ method, url }: SeenRequest) => method === "DELETE" && !url.includes("uploadId="),
  head: ({ method }: SeenRequest) => method === "HEAD",
  read: ({ method, url }: SeenRequest) => method === "GET" && !url.includes("list-type="),
  list: ({ method, url }: SeenRequest) => method === "GET" && url.includes("list-type="),
} as const;

/** As S3 writes an error. */
export function errorBody(code: string, message = ""): string {
  return `<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>${code}</Code><Message>${message}</Message></Error>`;
}

/**
 * An HTTP proxy in front of an S3 server that fails as it is told. Requests are signed for its own
 * address, which it passes on: the server checks the signature and takes any name for its own.
 */
export async function startFaultProxy(target: string): Promise<FaultProxy> {
  const { hostname, port } = new URL(target);
  const requests: SeenRequest[] = [];
  const rules: { matches: (request: SeenRequest) => boolean; fault: Fault; left: number }[] = [];

  const server = createServer((incoming, outgoing) => {
    const { method = "", url = "", headers } = incoming;
    const seen: SeenRequest = { method, url, headers };
    requests.push(seen);
    const rule = rules.find(({ matches, left }) => left > 0 && matches(seen));
    if (rule !== undefined) rule.left -= 1;
    incoming.on("error", () => undefined);
    outgoing.on("error", () => undefined);
    handle(incoming, outgoing, rule?.fault);
  });

  function handle(incoming: IncomingMessage, outgoing: ServerResponse, fault?: Fault): void {
    switch (fault?.kind) {
      case "answer": {
        incoming.resume();
        incoming.once("end", () => {
          outgoing.writeHead(fault.status, { "content-type": "application/xml" });
          outgoing.end(incoming.method === "HEAD" ? undefined : fault.body);
        });
        return;
      }
      case "stall":
        return;
      case "cut-request": {
        let left = fault.after;
        incoming.on("data", (chunk: Buffer) => {
          left -= chunk.length;
          if (left <= 0) incoming.destroy();
        });
        return;
      }
      default:
        forward(incoming, outgoing, fault);
    }
  }

  function forward(incoming: IncomingMessage, outgoing: ServerResponse, fault?: Fault): void {
    const { method, url, headers } = incoming;
    const onward = request({ hostname, port, method, path: url, headers, agent: false });
    // Whoever has gone away on one side is gone on the other.
    outgoing.once("close", () => onward.destroy());
    onward.once("error", () => incoming.destroy());
    onward.once("response", (answer) => {
      answer.on("error", () => outgoing.destroy());
      if (fault?.kind === "lose-answer") {
        answer.resume();
        answer.once("end", () => outgoing.destroy());
        return;
      }
      if (fault?.kind === "hold-answer") {
        answer.resume();
        answer.once("end", fault.onAnswer);
        return;
      }
      outgoing.writeHead(answer.statusCode ?? 502, answer.rawHeaders);
      if (fault?.kind !== "cut-response" && fault?.kind !== "stall-response") {
        answer.pipe(outgoing);
        return;
      }
      const end = () => void (fault.kind === "cut-response" && outgoing.destroy());
      outgoing.flushHeaders();
      if (fault.after === 0) outgoing.socket?.write("", end);
      let left = fault.after;
      answer.on("data", (chunk: Buffer) => {
        if (left <= 0) return;
        const passed = chunk.subarray(0, left);
        left -= passed.length;
        outgoing.write(passed, () => void (left <= 0 && end()));
      });
    });
    incoming.pipe(onward);
  }

  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    fail: (matches, fault, times = Number.POSITIVE_INFINITY) => {
      rules.push({ matches, fault, left: times });
    },
    heal: () => {
      rules.length = 0;
      requests.length = 0;
    },
    async close() {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}
