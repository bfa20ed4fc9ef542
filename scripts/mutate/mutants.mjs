// The mutants of one compiled file: small changes of meaning, each a place and what stands there instead.
import { readFileSync } from "node:fs";
import { SourceMap } from "node:module";
import { parseSync } from "oxc-parser";

const BINARY = {
  "<": ["<=", ">="],
  "<=": ["<", ">"],
  ">": [">=", "<="],
  ">=": [">", "<"],
  "===": ["!=="],
  "!==": ["==="],
  "+": ["-"],
  "-": ["+"],
  "*": ["/"],
  "/": ["*"],
  "%": ["*"],
  "<<": [">>"],
  ">>": ["<<"],
  ">>>": ["<<"],
  "&": ["|"],
  "|": ["&"],
};
const LOGICAL = { "&&": "||", "||": "&&", "??": "&&" };
const ASSIGN = { "+=": "-=", "-=": "+=", "|=": "&=", "&=": "|=" };

/** `js`: path of the compiled file, with its map beside it. `file`: its source, for the names of the mutants. */
export function mutantsOf(js, file) {
  const text = readFileSync(js, "utf8");
  const { program, errors } = parseSync(js, text);
  if (errors.length > 0) throw new Error(`${js}: ${errors[0].message}`);
  const map = new SourceMap(JSON.parse(readFileSync(`${js}.map`, "utf8")));
  const lineStarts = [0];
  for (let at = text.indexOf("\n"); at >= 0; at = text.indexOf("\n", at + 1))
    lineStarts.push(at + 1);
  const mutants = [];
  const seen = new Map();

  const place = (at) => {
    let line = lineStarts.length - 1;
    while (lineStarts[line] > at) line -= 1;
    const entry = map.findEntry(line, at - lineStarts[line]);
    return (entry.originalLine ?? 0) + 1;
  };
  /** `reachedAt`: a place that is run whenever the mutant matters. Named by what stands there and what comes instead, not by line: so that a name outlives changes elsewhere. */
  const add = (kind, start, end, instead, context, reachedAt = start) => {
    const was = context ?? text.slice(start, end);
    const base = `${file}: ${short(was)} => ${short(instead === "" ? "nothing" : instead)}`;
    const count = (seen.get(base) ?? 0) + 1;
    seen.set(base, count);
    const name = count === 1 ? base : `${base} (${count})`;
    mutants.push({ name, kind, line: place(start), start, end, instead, reachedAt });
  };

  walk(program, undefined);
  return { text, mutants };

  function walk(node, parent) {
    if (node === null || typeof node !== "object") return;
    if (Array.isArray(node)) {
      for (const child of node) walk(child, parent);
      return;
    }
    if (typeof node.type !== "string") return;
    if (node.type === "ImportDeclaration" || node.type === "ExportAllDeclaration") return;
    // A text for people may be any text.
    if (node.type === "NewExpression" && /Error$/.test(node.callee.name ?? "")) return;
    visit(node, parent);
    for (const [key, child] of Object.entries(node)) if (key !== "type") walk(child, node);
  }

  function visit(node, parent) {
    switch (node.type) {
      case "BinaryExpression":
        for (const operator of BINARY[node.operator] ?? []) replaceOperator(node, operator);
        return;
      case "LogicalExpression":
        replaceOperator(node, LOGICAL[node.operator]);
        return;
      case "AssignmentExpression":
        if (ASSIGN[node.operator] !== undefined) replaceOperator(node, ASSIGN[node.operator]);
        return;
      case "UnaryExpression":
        if (node.operator === "!" || node.operator === "-" || node.operator === "~")
          add("unary", node.start, node.argument.start, "", text.slice(node.start, node.end));
        return;
      case "UpdateExpression":
        if (node.operator === "++")
          add("update", node.start, node.end, text.slice(node.start, node.end).replace("++", "--"));
        return;
      case "IfStatement":
      case "ConditionalExpression":
        add("condition", node.test.start, node.test.end, "true");
        add("condition", node.test.start, node.test.end, "false");
        return;
      case "Literal":
        literal(node, parent);
        return;
      case "ExpressionStatement":
        if (
          node.expression.type === "CallExpression" ||
          node.expression.type === "AssignmentExpression"
        )
          if (!text.slice(node.start, node.end).startsWith("super("))
            add("statement", node.start, node.end, ";");
        return;
      case "ReturnStatement":
        if (node.argument?.type === "Identifier" && node.argument.name !== "undefined")
          add("return", node.argument.start, node.argument.end, "undefined");
        return;
      default:
    }
  }

  function literal(node, parent) {
    if (typeof node.value === "boolean")
      add("boolean", node.start, node.end, String(!node.value), around(node, parent));
    if (typeof node.value === "number") {
      // How much room to begin with; it grows.
      if (parent?.type === "NewExpression" && parent.callee.name === "Writer") return;
      // A round number is somebody's choice, a duration mostly: one more or less is as good.
      if (node.value >= 1_000 && node.value % 10 === 0) {
        add("number", node.start, node.end, String(node.value * 10), around(node, parent));
        add("number", node.start, node.end, String(node.value / 10), around(node, parent));
        return;
      }
      add("number", node.start, node.end, String(node.value + 1), around(node, parent));
      if (node.value > 0)
        add("number", node.start, node.end, String(node.value - 1), around(node, parent));
    }
  }

  function around(node, parent) {
    if (parent === undefined || parent.end - parent.start > 60)
      return text.slice(node.start, node.end);
    const [before, after] = [
      text.slice(parent.start, node.start),
      text.slice(node.end, parent.end),
    ];
    return `${before}«${text.slice(node.start, node.end)}»${after}`;
  }

  function replaceOperator(node, operator) {
    const between = text.slice(node.left.end, node.right.start);
    const at = node.left.end + between.indexOf(node.operator);
    const whole = text.slice(node.start, node.end);
    add("operator", at, at + node.operator.length, operator, whole, node.start);
  }
}

function short(text) {
  const line = text.replaceAll(/\s+/g, " ").trim();
  return line.length > 90 ? `${line.slice(0, 87)}...` : line;
}
