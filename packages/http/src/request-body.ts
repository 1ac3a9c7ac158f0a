import { FormData as UndiciFormData } from "undici";
import { InvalidOptionError } from "@rollcall/core";
import { ReplayStream } from "./replay-stream.ts";

/**
 * What may be sent. Strings, bytes, `URLSearchParams`, `Blob` and `FormData` can be sent again as often as needed;
 * streams and iterables only while what was taken from them is still in memory (`maxReplayBytes`).
 */
export type RequestBody =
  | string
  | ArrayBufferView
  | ArrayBuffer
  | URLSearchParams
  | Blob
  | FormData
  | UndiciFormData
  | AsyncIterable<Uint8Array | string>
  | Iterable<Uint8Array | string>
  | null
  | undefined;

/** A body in the form undici takes, with the content type that follows from its kind. */
export interface PreparedBody {
  readonly content: string | ArrayBufferView | ArrayBuffer | Blob | UndiciFormData | ReplayStream | null | undefined;
  readonly contentType: string | undefined;
}

/** Prepares a body for sending, once for all attempts. Touches no stream. */
export function prepareBody(body: RequestBody, maxReplayBytes: number): PreparedBody {
  if (body === undefined || body === null || typeof body === "string") return plain(body);
  if (typeof body === "object") {
    if (ArrayBuffer.isView(body) || body instanceof ArrayBuffer) return plain(body);
    if (body instanceof URLSearchParams) return { content: body.toString(), contentType: URL_ENCODED };
    // undici itself adds the types of these two, with the boundary that it chooses.
    if (body instanceof Blob || body instanceof UndiciFormData) return plain(body);
    if (body instanceof FormData) return plain(convertForm(body));
    if (Symbol.asyncIterator in body || Symbol.iterator in body) return plain(new ReplayStream(body, maxReplayBytes));
  }
  throw new InvalidOptionError(
    "body",
    "a string, bytes, URLSearchParams, FormData, a Blob, a stream or an iterable of bytes",
    body,
  );
}

const URL_ENCODED = "application/x-www-form-urlencoded;charset=UTF-8";

function plain(content: PreparedBody["content"]): PreparedBody {
  return { content, contentType: undefined };
}

/** undici knows only the form data of its own copy; Node's global ones come from the copy inside Node. */
function convertForm(form: FormData): UndiciFormData {
  const converted = new UndiciFormData();
  for (const [name, value] of form) {
    if (typeof value === "string") converted.append(name, value);
    else converted.append(name, value, value.name);
  }
  return converted;
}
