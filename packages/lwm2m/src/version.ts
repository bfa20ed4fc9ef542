/** The versions of the enabler that this package speaks. */
export type Lwm2mVersion = "1.0" | "1.1" | "1.2";

export const LWM2M_VERSIONS: readonly Lwm2mVersion[] = ["1.0", "1.1", "1.2"];

export function isLwm2mVersion(text: string): text is Lwm2mVersion {
  return LWM2M_VERSIONS.some((version) => version === text);
}

/** "1.1" has Q, composites and so on; "1.0" does not. */
export function atLeast(version: Lwm2mVersion, other: Lwm2mVersion): boolean {
  return version >= other;
}
