import type { FastifyReply } from "fastify";

/** RFC 9457: what went wrong, in words a person can act on. */
export type Problem = {
  readonly status: number;
  readonly title: string;
  readonly detail: string;
  /** Stays the same from release to release: the `code` of the server SDK's error. */
  readonly code?: string;
  /** The device's CoAP code, where a device refused. */
  readonly coap_code?: string;
  readonly task?: string;
};

export async function sendProblem(reply: FastifyReply, problem: Problem): Promise<FastifyReply> {
  return await reply
    .code(problem.status)
    .header("content-type", "application/problem+json")
    .send(JSON.stringify(problem));
}
