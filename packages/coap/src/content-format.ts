/** Content-Format numbers by name: the registry's and, from 1542 on, OMA's. */
export const ContentFormat = {
  Text: 0,
  CoseEncrypt0: 16,
  LinkFormat: 40,
  Xml: 41,
  OctetStream: 42,
  Exi: 47,
  Json: 50,
  JsonPatch: 51,
  MergePatch: 52,
  Cbor: 60,
  CborSequence: 63,
  EdhocCborSequence: 64,
  CidEdhocCborSequence: 65,
  SenmlJson: 110,
  SenmlCbor: 112,
  ProblemDetailsCbor: 257,
  MissingBlocks: 272,
  SenmlEtchJson: 320,
  SenmlEtchCbor: 322,
  /** From before the registration of 11542; old clients still send it. */
  OldLwm2mTlv: 1542,
  /** From before the registration of 11543; old clients still send it. */
  OldLwm2mJson: 1543,
  Lwm2mTlv: 11542,
  /** LwM2M 1.0 only. */
  Lwm2mJson: 11543,
  Lwm2mCbor: 11544,
} as const;

/** The media type of a Content-Format number, undefined for a number not named here. */
export function mediaType(format: number): string | undefined {
  return MEDIA_TYPES.get(format);
}

const MEDIA_TYPES: ReadonlyMap<number, string> = new Map([
  [ContentFormat.Text, "text/plain;charset=utf-8"],
  [ContentFormat.CoseEncrypt0, 'application/cose; cose-type="cose-encrypt0"'],
  [ContentFormat.LinkFormat, "application/link-format"],
  [ContentFormat.Xml, "application/xml"],
  [ContentFormat.OctetStream, "application/octet-stream"],
  [ContentFormat.Exi, "application/exi"],
  [ContentFormat.Json, "application/json"],
  [ContentFormat.JsonPatch, "application/json-patch+json"],
  [ContentFormat.MergePatch, "application/merge-patch+json"],
  [ContentFormat.Cbor, "application/cbor"],
  [ContentFormat.CborSequence, "application/cbor-seq"],
  [ContentFormat.EdhocCborSequence, "application/edhoc+cbor-seq"],
  [ContentFormat.CidEdhocCborSequence, "application/cid-edhoc+cbor-seq"],
  [ContentFormat.SenmlJson, "application/senml+json"],
  [ContentFormat.SenmlCbor, "application/senml+cbor"],
  [ContentFormat.ProblemDetailsCbor, "application/concise-problem-details+cbor"],
  [ContentFormat.MissingBlocks, "application/missing-blocks+cbor-seq"],
  [ContentFormat.SenmlEtchJson, "application/senml-etch+json"],
  [ContentFormat.SenmlEtchCbor, "application/senml-etch+cbor"],
  [ContentFormat.OldLwm2mTlv, "application/vnd.oma.lwm2m+tlv"],
  [ContentFormat.OldLwm2mJson, "application/vnd.oma.lwm2m+json"],
  [ContentFormat.Lwm2mTlv, "application/vnd.oma.lwm2m+tlv"],
  [ContentFormat.Lwm2mJson, "application/vnd.oma.lwm2m+json"],
  [ContentFormat.Lwm2mCbor, "application/vnd.oma.lwm2m+cbor"],
]);
