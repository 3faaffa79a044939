/** How many random cases a property is tried with: 500 in `npm test`, more in `npm run fuzz`. */
export const fuzzRuns = { numRuns: Number(process.env['FUZZ_RUNS'] ?? 500) }
