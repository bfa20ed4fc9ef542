import { checkAll } from "./invariants/index.ts";
import type { Model } from "./model.ts";
import { WAITS, inWords, pick, type Command, type StepChoice } from "./step.ts";
import type { Story } from "./story.ts";

/** One step of a story, as fast-check's model runs take it. */
export class Step {
  readonly command: Command;
  readonly choice: StepChoice;

  constructor(command: Command, choice: StepChoice) {
    this.command = command;
    this.choice = choice;
  }

  check(model: Readonly<Model>): boolean {
    return model.stepsLeft > 0 && this.command.can(model, this.choice);
  }

  /** Acts, lets time pass, looks at every invariant. @throws Violation */
  run(model: Model, story: Story): void {
    const { command, choice } = this;
    model.stepsLeft -= 1;
    const wait = pick(WAITS, choice.wait);
    const at = new Date(story.world.now).toISOString().slice(5, 19).replace("T", " ");
    const strategy = command.about === "device" ? model.at(choice.device).strategy : undefined;
    story.steps.push({ command: command.name, strategy });
    const line = story.lines.push(`${at} ${command.name}`) - 1;
    const said = command.act(story, choice);
    story.lines[line] = `${at} ${said}; ${inWords(wait)} pass`;
    if (story.violation === undefined) story.pass(wait);
    checkAll(story);
    if (story.violation !== undefined) throw story.violation;
    story.remember();
  }

  toString(): string {
    return this.command.name;
  }
}
