import { describe, expect, it } from "vitest";
import { raw, world } from "./gateway-world.ts";

/** A request without what ends it, which most rows are about the middle of. */
const get = (target: string, ...headers: string[]): string => lines(`GET ${target} HTTP/1.1`, "Host: x", ...headers);
const post = (headers: readonly string[], body: string): string =>
  `${lines("POST /p HTTP/1.1", "Host: x", ...headers)}${body}`;
const lines = (...all: string[]): string => `${all.join("\r\n")}\r\nConnection: close\r\n\r\n`;

/** Refused with this status, and no instance has heard of it. */
interface Refused {
  readonly status: number | "closed";
}

/** Passed on, and this is what the instance was told: all of `has`, none of `not`. */
interface Neutralised {
  readonly has: readonly (string | RegExp)[];
  readonly not?: readonly (string | RegExp)[];
}

/** Passed on as far as it came, but never as a whole request; the caller is told so. */
interface BrokenOff {
  readonly brokenOff: number;
}

type Row = readonly [what: string, bytes: string, expected: Refused | Neutralised | BrokenOff];

const REQUESTS: Readonly<Record<string, readonly Row[]>> = {
  "lengths and encodings": [
    ["CL.TE", post(["Content-Length: 6", "Transfer-Encoding: chunked"], "0\r\n\r\nG"), { status: 400 }],
    ["TE.CL", post(["Transfer-Encoding: chunked", "Content-Length: 3"], "1\r\nG\r\n0\r\n\r\n"), { status: 400 }],
    [
      "TE.TE, one that is none",
      post(["Transfer-Encoding: chunked", "Transfer-Encoding: x"], "0\r\n\r\n"),
      { status: 400 },
    ],
    [
      "TE.TE, the same twice",
      post(["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"], "0\r\n\r\n"),
      { status: 400 },
    ],
    ["TE: identity", post(["Transfer-Encoding: identity"], "hello"), { status: "closed" }],
    ["TE: xchunked", post(["Transfer-Encoding: xchunked"], "0\r\n\r\n"), { status: "closed" }],
    ["TE: chunked, identity", post(["Transfer-Encoding: chunked, identity"], "0\r\n\r\n"), { status: 400 }],
    ["TE: gzip, chunked", post(["Transfer-Encoding: gzip, chunked"], "0\r\n\r\n"), { status: 400 }],
    ["TE with a vertical tab", post(["Transfer-Encoding:\x0bchunked"], "0\r\n\r\n"), { status: 400 }],
    ["TE in quotes", post(['Transfer-Encoding: "chunked"'], "0\r\n\r\n"), { status: "closed" }],
    ["TE with a space before the colon", post(["Transfer-Encoding : chunked"], "0\r\n\r\n"), { status: 400 }],
    ["TE on a folded line", post(["X: y", " Transfer-Encoding: chunked"], "0\r\n\r\n"), { status: 400 }],
    ["TE folded", post(["Transfer-Encoding:", " chunked"], "0\r\n\r\n"), { status: 400 }],
    [
      "TE in HTTP/1.0",
      "POST /p HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
      { has: ["POST /p HTTP/1.1", "content-length: 0"] },
    ],
    ["CL with a plus", post(["Content-Length: +5"], "hello"), { status: 400 }],
    ["CL with a minus", post(["Content-Length: -5"], "hello"), { status: 400 }],
    ["CL in hexadecimal", post(["Content-Length: 0x5"], "hello"), { status: 400 }],
    ["CL with a fraction", post(["Content-Length: 5.0"], "hello"), { status: 400 }],
    ["CL as a list", post(["Content-Length: 5, 5"], "hello"), { status: 400 }],
    ["CL with a space inside", post(["Content-Length: 5 5"], "hello"), { status: 400 }],
    ["CL that is empty", post(["Content-Length: "], "hello"), { status: 400 }],
    ["CL beyond any number", post(["Content-Length: 99999999999999999999"], "hello"), { status: 400 }],
    ["CL twice, different", post(["Content-Length: 5", "Content-Length: 6"], "hello"), { status: 400 }],
    ["CL twice, the same", post(["Content-Length: 5", "Content-Length: 5"], "hello"), { status: 400 }],
    ["more than CL says", post(["Content-Length: 5"], "helloGET /smuggled HTTP/1.1"), { status: 400 }],
    ["a body in a GET", `${get("/p", "Content-Length: 5")}hello`, { has: ["content-length: 5", /hello$/] }],
    [
      "chunks in a GET",
      `${get("/p", "Transfer-Encoding: chunked")}5\r\nhello\r\n0\r\n\r\n`,
      { has: ["transfer-encoding: chunked"] },
    ],
    [
      "chunk extensions",
      post(["Transfer-Encoding: chunked"], '5;a="b\\"";c\r\nhello\r\n0;x\r\n\r\n'),
      { has: ["hello"], not: [/;c/, /;x/] },
    ],
    [
      "endless chunk extensions",
      post(["Transfer-Encoding: chunked"], `5;${"a".repeat(20_000)}\r\nhello\r\n0\r\n\r\n`),
      { brokenOff: 413 },
    ],
    ["a chunk size with 0x", post(["Transfer-Encoding: chunked"], "0x5\r\nhello\r\n0\r\n\r\n"), { brokenOff: 400 }],
    ["a chunk size with a sign", post(["Transfer-Encoding: chunked"], "-5\r\nhello\r\n0\r\n\r\n"), { brokenOff: 400 }],
    ["a chunk size with a space", post(["Transfer-Encoding: chunked"], "5 \r\nhello\r\n0\r\n\r\n"), { brokenOff: 400 }],
    [
      "a chunk size beyond any number",
      post(["Transfer-Encoding: chunked"], "fffffffffffffffff\r\nhello\r\n0\r\n\r\n"),
      { brokenOff: 400 },
    ],
    [
      "a chunk that is longer than it says",
      post(["Transfer-Encoding: chunked"], "3\r\nhello\r\n0\r\n\r\n"),
      { brokenOff: 400 },
    ],
    [
      "a chunk that ends with a bare LF",
      post(["Transfer-Encoding: chunked"], "5\r\nhello\n0\r\n\r\n"),
      { brokenOff: 400 },
    ],
    [
      "a chunk size that ends with a bare LF",
      post(["Transfer-Encoding: chunked"], "5\nhello\r\n0\r\n\r\n"),
      { brokenOff: 400 },
    ],
  ],
  lines: [
    ["a bare LF at the end of a line", "GET /p HTTP/1.1\nHost: x\nConnection: close\n\n", { status: 400 }],
    ["a bare LF between headers", get("/p", "X: a\nY: b"), { status: 400 }],
    ["a bare CR in a header", get("/p", "X: a\rY: b"), { status: 400 }],
    ["a folded header", get("/p", "X: a", "  b"), { status: 400 }],
    ["a NUL in a header", get("/p", "X: a\0b"), { status: 400 }],
    ["a control character in a header", get("/p", "X: a\x01b"), { status: 400 }],
    ["a header without a colon", get("/p", "X"), { status: 400 }],
    ["a header without a name", get("/p", ": x"), { status: 400 }],
    ["a space in a header's name", get("/p", "X Y: z"), { status: 400 }],
    ["a space before a colon", get("/p", "X-Own : z"), { status: 400 }],
    ["a space before the first header", "GET /p HTTP/1.1\r\n Host: x\r\n\r\n", { status: 400 }],
    ["no version", "GET /p\r\nHost: x\r\n\r\n", { status: 400 }],
    ["HTTP/0.9", "GET /p\r\n\r\n", { status: 400 }],
    ["HTTP/1.2", "GET /p HTTP/1.2\r\nHost: x\r\n\r\n", { status: 400 }],
    ["HTTP/2 without being asked", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", { status: 400 }],
    ["TLS where none is spoken", "\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03", { status: 400 }],
    ["bytes beyond ASCII in a header", get("/p", "X-Own: \xe9"), { has: ["x-own: \xe9"] }],
  ],
  targets: [
    ["an absolute URL", get("http://evil.example/p"), { status: 400 }],
    ["an absolute URL with the gateway's own host", get("http://x/p"), { status: 400 }],
    ["an absolute URL of another scheme", get("gopher://evil.example/"), { status: 400 }],
    [
      "a host behind two slashes",
      get("//evil.example/p"),
      { has: ["GET /evil.example/p HTTP/1.1", /host: 127\.0\.0\.1/] },
    ],
    ["a host behind three slashes", get("///evil.example/p"), { has: ["GET /evil.example/p HTTP/1.1"] }],
    ["a host behind a slash and a backslash", get("/\\evil.example/p"), { status: 400 }],
    ["a host behind backslashes", get("\\\\evil.example/p"), { status: 400 }],
    ["a host behind an at sign", get("/@evil.example/p"), { has: ["GET /@evil.example/p", /host: 127\.0\.0\.1/] }],
    ["a host without a slash", get("evil.example:80"), { status: 400 }],
    ["an asterisk", "OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", { status: 400 }],
    ["traversal", get("/a/../../p"), { status: 400 }],
    ["traversal at the end", get("/a/.."), { status: 400 }],
    ["traversal, %2e%2e", get("/%2e%2e/p"), { status: 400 }],
    ["traversal, %2E.", get("/%2E./p"), { status: 400 }],
    ["traversal, .%2e", get("/a/.%2e/p"), { status: 400 }],
    ["traversal, ..%2f", get("/..%2fp"), { status: 400 }],
    ["traversal, ..%5c", get("/..%5cp"), { status: 400 }],
    ["traversal, %2f..", get("/a%2f..%2fp"), { status: 400 }],
    ["traversal with a parameter", get("/a/..;x=1/p"), { status: 400 }],
    ["traversal in the query, where it is none", get("/p?x=/../y"), { has: ["GET /p?x=/../y HTTP/1.1"] }],
    [
      "traversal, encoded twice: once decoded it is still none",
      get("/%252e%252e/p"),
      { has: ["GET /%252e%252e/p HTTP/1.1"] },
    ],
    ["a fragment", get("/p#x"), { status: 400 }],
    ["CRLF, encoded, stays encoded", get("/p%0d%0aX:%20y"), { has: ["GET /p%0d%0aX:%20y HTTP/1.1"], not: [/^x: y/im] }],
    ["CR in the target", get("/p\rX: y"), { status: 400 }],
    ["LF in the target", get("/p\nX: y"), { status: 400 }],
    ["a space in the target", get("/p q"), { status: 400 }],
    ["a NUL in the target", get("/p\0"), { status: 400 }],
    ["bytes beyond ASCII in the target", get("/\xc0\xae\xc0\xae/p"), { status: 400 }],
    ["a target beyond all measure", get(`/${"a".repeat(20_000)}`), { status: 431 }],
  ],
  hosts: [
    ["two hosts", get("/p", "Host: y"), { status: 400 }],
    ["two hosts, the same", get("/p", "Host: x"), { status: 400 }],
    ["no host", "GET /p HTTP/1.1\r\nConnection: close\r\n\r\n", { status: 400 }],
    [
      "an empty host",
      "GET /p HTTP/1.1\r\nHost:\r\nConnection: close\r\n\r\n",
      { has: ["GET /p"], not: ["x-forwarded-host"] },
    ],
    ["a host with a user", "GET /p HTTP/1.1\r\nHost: a:b@x\r\nConnection: close\r\n\r\n", { status: 400 }],
    ["a host with a path", "GET /p HTTP/1.1\r\nHost: x/admin\r\nConnection: close\r\n\r\n", { status: 400 }],
    ["a list of hosts", "GET /p HTTP/1.1\r\nHost: x, y\r\nConnection: close\r\n\r\n", { status: 400 }],
    ["a host in quotes", 'GET /p HTTP/1.1\r\nHost: "x"\r\nConnection: close\r\n\r\n', { status: 400 }],
    [
      "a host with a port that is none",
      "GET /p HTTP/1.1\r\nHost: x:99999999\r\nConnection: close\r\n\r\n",
      { status: 400 },
    ],
    [
      "an IPv6 host",
      "GET /p HTTP/1.1\r\nHost: [::1]:80\r\nConnection: close\r\n\r\n",
      { has: ["x-forwarded-host: [::1]:80"] },
    ],
    [
      "whatever host is said",
      get("/p"),
      { has: [/^host: 127\.0\.0\.1:\d+\r$/m, "x-forwarded-host: x"], not: [/^host: x/m] },
    ],
  ],
  methods: [
    ["TRACE", "TRACE /p HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", { status: 400 }],
    ["CONNECT", "CONNECT evil.example:443 HTTP/1.1\r\nHost: x\r\n\r\n", { status: "closed" }],
    ["a method in lower case", "get /p HTTP/1.1\r\nHost: x\r\n\r\n", { status: 400 }],
    ["a method that nobody knows", "HACK /p HTTP/1.1\r\nHost: x\r\n\r\n", { status: 400 }],
  ],
  "headers of one connection": [
    ["Connection: close", get("/p"), { has: ["connection: keep-alive"], not: ["connection: close"] }],
    [
      "headers that Connection names",
      "GET /p HTTP/1.1\r\nHost: x\r\nX-Secret: 1\r\nX-Own: 2\r\nConnection: close, X-Secret\r\n\r\n",
      { has: ["x-own: 2"], not: [/x-secret/i] },
    ],
    [
      "X-Forwarded-For, and Connection naming it",
      "GET /p HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 6.6.6.6\r\nConnection: close, X-Forwarded-For, X-Forwarded-Host\r\n\r\n",
      { has: ["x-forwarded-for: 127.0.0.1", "x-forwarded-host: x"], not: ["6.6.6.6"] },
    ],
    [
      "Content-Length and Host, and Connection naming them",
      "POST /p HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nConnection: close, Content-Length, Host\r\n\r\nhello",
      { has: ["content-length: 5", /host: 127/, /hello$/] },
    ],
    [
      "Proxy-Connection, Proxy-Authorization, Keep-Alive",
      get("/p", "Proxy-Connection: keep-alive", "Proxy-Authorization: Basic x", "Keep-Alive: timeout=9"),
      { has: ["GET"], not: [/proxy-/i, /^keep-alive:/im] },
    ],
    ["TE: gzip", get("/p", "TE: gzip"), { has: ["GET"], not: [/^te:/im] }],
    [
      "TE: trailers, which is said anew",
      get("/p", "TE: gzip, trailers;q=0.5, trailers"),
      { has: [/^te: trailers\r$/m] },
    ],
    [
      "a length among the trailers",
      post(["Transfer-Encoding: chunked"], "5\r\nhello\r\n0\r\nContent-Length: 3\r\n\r\n"),
      { status: 400 },
    ],
    [
      "trailers that would change the head",
      post(["Transfer-Encoding: chunked", "Trailer: Host, X-Own"], "5\r\nhello\r\n0\r\nHost: evil\r\nX-Own: 1\r\n\r\n"),
      { has: ["hello"], not: ["evil", /x-own/i, /trailer/i] },
    ],
    ["Expect", get("/p", "Expect: 100-continue"), { has: ["GET"], not: [/expect/i] }],
    ["an expectation that nobody has", get("/p", "Expect: 200-ok"), { status: 417 }],
    [
      "an upgrade to h2c",
      "GET /p HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n",
      { status: 400 },
    ],
    [
      "Upgrade that Connection does not name",
      get("/p", "Upgrade: h2c", "HTTP2-Settings: AAMA"),
      { has: ["GET"], not: [/upgrade/i, /http2/i] },
    ],
  ],
  "what only this side may say": [
    [
      "X-Forwarded-*",
      get(
        "/p",
        "X-Forwarded-For: 6.6.6.6",
        "X-Forwarded-Proto: https",
        "X-Forwarded-Host: evil",
        "X-Forwarded-Port: 1",
      ),
      {
        has: ["x-forwarded-for: 127.0.0.1", "x-forwarded-proto: http\r", "x-forwarded-host: x"],
        not: ["6.6.6.6", "evil", "port"],
      },
    ],
    [
      "Forwarded and X-Real-IP",
      get("/p", "Forwarded: for=6.6.6.6", "X-Real-IP: 6.6.6.6"),
      { has: ["GET"], not: ["6.6.6.6"] },
    ],
    [
      "names with _",
      get(
        "/p",
        "X_Forwarded_For: 6.6.6.6",
        "X-Forwarded_Host: evil",
        "Content_Length: 3",
        "Transfer_Encoding: chunked",
        "Api_Key: 1",
      ),
      { has: ["api_key: 1"], not: ["6.6.6.6", "evil", /_length/i, /_encoding/i] },
    ],
    [
      "attempts and deadlines",
      get("/p", "X-Rollcall-Attempt: 2", "X-Rollcall-Deadline-Ms: 0", "X_Rollcall_Attempt: 2"),
      { has: ["GET"], not: [/rollcall/i] },
    ],
  ],
  sizes: [
    ["a header beyond all measure", get("/p", `X: ${"a".repeat(20_000)}`), { status: 431 }],
    ["many headers", get("/p", ...Array.from({ length: 100 }, (_, n) => `X-${n}: 1`)), { status: 431 }],
    ["more headers than Node keeps", get("/p", ...Array.from({ length: 2_500 }, () => "X:")), { status: 431 }],
    ["a body beyond what is allowed", post(["Content-Length: 104857601"], ""), { status: 413 }],
  ],
};

/** Whether a request has arrived whole, for an instance that reads bytes. */
function isWhole(received: string): boolean {
  const [head = "", ...rest] = received.split("\r\n\r\n");
  if (rest.length === 0) return false;
  if (/^transfer-encoding: chunked$/im.test(head)) return received.endsWith("\r\n0\r\n\r\n");
  const length = Number(/^content-length: (\d+)$/im.exec(head)?.[1] ?? 0);
  return rest.join("\r\n\r\n").length >= length;
}

/** Node answers `Expect` by itself. */
const CONTINUE = "HTTP/1.1 100 Continue\r\n\r\n";

/** What a gateway makes of bytes: what the caller gets, and what the instance got. */
async function send(bytes: string): Promise<{ answer: string; received: string }> {
  const here = world();
  let received = "";
  await here.rawInstance((socket, all) => {
    received = all;
    if (isWhole(all)) socket.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
  });
  const answer = await raw(await here.front(), bytes);
  return { answer, received };
}

for (const [kind, rows] of Object.entries(REQUESTS)) {
  describe(`gateway, hostile requests: ${kind}`, () => {
    it.each(rows)("%s", async (_, bytes, expected) => {
      const { answer, received } = await send(bytes);
      if ("has" in expected) {
        expect(answer.replace(CONTINUE, "")).toMatch(/^HTTP\/1\.1 200 OK\r\n[^]*\r\nok$/);
        for (const has of expected.has) expect(received).toMatch(has);
        for (const not of expected.not ?? []) expect(received).not.toMatch(not);
        expect(received.match(/ HTTP\/1\.1/g)).toHaveLength(1);
      } else if ("status" in expected) {
        if (expected.status === "closed") expect(answer).toBe("");
        else expect(answer).toMatch(new RegExp(`^HTTP/1\\.1 ${expected.status} `));
        expect(received).toBe("");
      } else {
        expect(answer).toMatch(new RegExp(`^HTTP/1\\.1 ${expected.brokenOff} `));
        expect(isWhole(received)).toBe(false);
      }
    });
  });
}

/** What an instance says, and what becomes of it: the caller gets a 502, or an answer that says just this. */
const ANSWERS: readonly (readonly [what: string, bytes: string, becomes: 502 | RegExp])[] = [
  ["CL and TE", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", 502],
  ["two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok!", 502],
  ["two lengths, the same", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok", 502],
  ["a length with a sign", "HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok", 502],
  ["a list of lengths", "HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok", 502],
  [
    "an encoding that is left undone",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    502,
  ],
  ["an encoding behind chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, gzip\r\n\r\nok", 502],
  ["an encoding that is none", "HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n\r\nok", 502],
  ["a bare CR in a header", "HTTP/1.1 200 OK\r\nX: a\rY: b\r\nContent-Length: 2\r\n\r\nok", 502],
  ["a bare LF in a header", "HTTP/1.1 200 OK\r\nX: a\nY: b\r\nContent-Length: 2\r\n\r\nok", 502],
  ["a folded header", "HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 2\r\n\r\nok", 502],
  ["a control character in a header", "HTTP/1.1 200 OK\r\nX: a\x01b\r\nContent-Length: 2\r\n\r\nok", 502],
  ["a space in a header's name", "HTTP/1.1 200 OK\r\nX Y: a\r\nContent-Length: 2\r\n\r\nok", 502],
  ["a space before a colon", "HTTP/1.1 200 OK\r\nX : a\r\nContent-Length: 2\r\n\r\nok", 502],
  ["a header beyond all measure", `HTTP/1.1 200 OK\r\nX: ${"a".repeat(20_000)}\r\nContent-Length: 2\r\n\r\nok`, 502],
  ["no HTTP at all", "SSH-2.0-OpenSSH_9\r\n", 502],
  [
    "a protocol that nobody asked for",
    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    502,
  ],
  [
    "a Continue that nobody asked for",
    "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    502,
  ],
  ["a status beyond all numbers", "HTTP/1.1 1000 OK\r\nContent-Length: 2\r\n\r\nok", 502],
  ["a status below all numbers", "HTTP/1.1 099 OK\r\nContent-Length: 2\r\n\r\nok", 502],
  [
    "headers of its own connection",
    "HTTP/1.1 200 OK\r\nConnection: X-Secret, keep-alive\r\nX-Secret: 1\r\nKeep-Alive: timeout=99\r\nProxy-Authenticate: Basic\r\nContent-Length: 2\r\n\r\nok",
    /^HTTP\/1\.1 200 OK\r\ncontent-length: 2\r\nDate: [^\r]+\r\nConnection: close\r\n\r\nok$/,
  ],
  ["a reason of its own", "HTTP/1.1 200 <script>\r\nContent-Length: 2\r\n\r\nok", /^HTTP\/1\.1 200 OK\r\n/],
  [
    "a body where there is none",
    "HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\nok",
    /^HTTP\/1\.1 204 No Content\r\n[^]*\r\n\r\n$/,
  ],
  [
    "chunk extensions",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;a=b\r\nok\r\n0\r\n\r\n",
    /\r\n\r\n2\r\nok\r\n0\r\n\r\n$/,
  ],
  [
    "trailers that would change the head",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nSet-Cookie: a=b\r\nX-Own: 1\r\n\r\n",
    /\r\n0\r\nx-own: 1\r\n\r\n$/,
  ],
];

describe("gateway, hostile answers", () => {
  it.each(ANSWERS)("%s", async (_, bytes, becomes) => {
    const here = world();
    await here.rawInstance((socket, all) => void (isWhole(all) && socket.end(bytes, "latin1")));
    const answer = await raw(await here.front({ retry: false }), get("/p"));
    expect(answer).toMatch(becomes === 502 ? /^HTTP\/1\.1 502 / : becomes);
    expect(answer.match(/HTTP\/1\.1/g)).toHaveLength(1);
  });

  it("a second answer behind the first, which nobody gets", async () => {
    const here = world();
    await here.rawInstance((socket, all) => {
      const path = /(\S+) HTTP\/1\.1\r\n[^]*?\r\n\r\n$/.exec(all)?.[1] ?? "";
      socket.write(
        `HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n${path}HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil`,
      );
    });
    const front = await here.front();
    for (const path of ["/1", "/2", "/3"]) expect(await raw(front, get(path))).toMatch(new RegExp(`\r\n\r\n${path}$`));
  });

  it("two requests in one go are judged one by one", async () => {
    const here = world();
    const seen: (string | undefined)[] = [];
    await here.instance((request, response) => {
      seen.push(request.url);
      response.end("ok");
    });
    const first = "GET /1 HTTP/1.1\r\nHost: x\r\n\r\n";
    const answer = await raw(await here.front(), `${first}${get("/%2e%2e/admin")}`);
    expect(answer.match(/HTTP\/1\.1 \d+/g)).toEqual(["HTTP/1.1 200", "HTTP/1.1 400"]);
    expect(seen).toEqual(["/1"]);
  });
});
