import type { RunFigures } from "../loop-process.ts";

/** What the processes of the benchmark are asked. */
export type DtlsAsk =
  /** Be the server; `echo`: one that gives back every datagram and keeps nothing. */
  | { readonly type: "serve"; readonly echo: boolean }
  /** Open sessions with a server until there are so many. */
  | {
      readonly type: "open";
      readonly port: number;
      readonly sessions: number;
      readonly connectionId: boolean;
    }
  /** Make so many clients of an echo. */
  | { readonly type: "meet"; readonly port: number; readonly clients: number }
  /** Make `/hello` there, over the first session. */
  | { readonly type: "prepare"; readonly port: number }
  /** GETs over the sessions that were opened there, or datagrams to an echo. */
  | {
      readonly type: "pairs";
      readonly port: number;
      readonly turns: number;
      readonly seconds: number;
    }
  /** Handshakes one after the other, by so many clients of their own. */
  | {
      readonly type: "handshakes";
      readonly port: number;
      readonly clients: number;
      readonly seconds: number;
      readonly how: "full" | "resume";
      /** Says goodbye before the next one, for servers that take no new hello in place of an old session. */
      readonly goodbye: boolean;
    }
  | { readonly type: "idle"; readonly sessions: number };

export type DtlsAnswer = {
  readonly serve: { readonly port: number };
  readonly open: { readonly sessions: number };
  readonly meet: { readonly sessions: number };
  readonly prepare: { readonly refused: number };
  readonly pairs: RunFigures;
  readonly handshakes: RunFigures;
  readonly idle: IdleMemory;
};

/** Growth of heap and buffers per session, collected; bytes. */
export type IdleMemory = {
  readonly sessions: number;
  readonly heap: number;
  readonly buffers: number;
  /** Heap and buffers of a server that gives out no sessions to resume. */
  readonly withoutResumption: number;
};

/** Every client has its identity and the same key. */
export const KEY: Uint8Array = new TextEncoder().encode("bench-secret-key");
