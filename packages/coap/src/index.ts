export type {
  EndpointInput,
  EndpointOutput,
  ExchangeId,
  RequestId,
  TransportInput,
  TransportOutput,
} from "./endpoint-events.ts";
export {
  ACK,
  CON,
  NON,
  RST,
  type Message,
  type MessageType,
  type Option,
  type Request,
  type Response,
} from "./message.ts";
export {
  coapTuning,
  exchangeLifetime,
  maxLatency,
  maxRtt,
  maxTransmitSpan,
  maxTransmitWait,
  nonLifetime,
  type CoapTuning,
} from "./tuning.ts";
