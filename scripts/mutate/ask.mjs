// Runs the compiled test files named on the command line, in their order, in this process.
for (const file of process.argv.slice(2)) await import(new URL(`../../${file}`, import.meta.url));
