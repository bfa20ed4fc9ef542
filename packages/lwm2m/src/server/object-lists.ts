import { formatObjectList, type ObjectList } from "../object-list.ts";

/** Devices of one kind announce the same objects: one list in memory serves all of them. */
export class ObjectLists {
  readonly #limit: number;
  /** Oldest first, as maps keep the order of insertion. */
  readonly #byText = new Map<string, ObjectList>();

  /** `limit`: lists that are shared; one more makes the oldest be forgotten, and those who have it keep it. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  get size(): number {
    return this.#byText.size;
  }

  /** An equal list, that of others if there is one. */
  shared(list: ObjectList): ObjectList {
    const text = formatObjectList(list);
    if (text.length > LONGEST) return list;
    const there = this.#byText.get(text);
    if (there !== undefined) return there;
    if (this.#byText.size >= this.#limit) {
      for (const oldest of this.#byText.keys()) {
        this.#byText.delete(oldest);
        break;
      }
    }
    this.#byText.set(text, list);
    return list;
  }
}

/** Longer ones are one device's own. */
const LONGEST = 1_024;
