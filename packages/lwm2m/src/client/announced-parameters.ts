import { impliedVersion } from "../definition.ts";
import type { ObjectEntry, ObjectList } from "../object-list.ts";
import type { Lwm2mVersion } from "../version.ts";
import type { ClientOptions } from "./options.ts";
import type { ServerObject } from "./server-object.ts";
import type { Told } from "./snapshot.ts";

/** What a Register or Update says now: lifetime, binding, queue mode and the object list (OMA TS Core 6.2.1). */
export function announcedParameters({
  server,
  objects,
  root,
  lwm2m,
  options,
}: {
  readonly server: ServerObject;
  readonly objects: readonly ObjectEntry[];
  readonly root: readonly string[];
  readonly lwm2m: Lwm2mVersion;
  readonly options: Pick<ClientOptions, "queueMode" | "verbose">;
}): Told {
  const { binding, lifetime } = server;
  const queue = options.queueMode === true || binding.includes("Q");
  return {
    lifetime,
    binding: binding.replace("Q", ""),
    queue,
    objects: objectList(objects, root, lwm2m, options.verbose === true),
  };
}

function objectList(
  objects: readonly ObjectEntry[],
  root: readonly string[],
  lwm2m: Lwm2mVersion,
  verbose: boolean,
): ObjectList {
  const said = (id: number, version: string): string | undefined => {
    const implied = impliedVersion(id, lwm2m);
    const needed = version !== implied || (verbose && version !== "1.0");
    return needed ? version : undefined;
  };
  return {
    root,
    formats: [],
    objects: objects.map(({ id, version, instances }) => ({
      id,
      version: said(id, id === 1 ? lwm2m : (version ?? impliedVersion(id, lwm2m))),
      instances,
    })),
  };
}
