/** Label selectors, as the API server reads them (k8s.io/apimachinery, labels). */

import type { LabelSelector, SelectorTerm, SessionPolicy } from './session-policy.ts'

type Labels = Readonly<Record<string, string>>

export function selects({ matchLabels, matchExpressions }: LabelSelector, labels: Labels): boolean {
  return Object.entries(matchLabels).every(([key, value]) => own(labels, key) === value) && matchExpressions.every(term => holds(term, own(labels, term.key)))
}

/** The policies that select a pod, in the order of their names, which decides wherever only one can win. */
export function selecting(policies: readonly SessionPolicy[], labels: Labels): SessionPolicy[] {
  return policies.filter(({ spec }) => selects(spec.selector, labels)).sort((a, b) => (a.name < b.name ? -1 : 1))
}

function own(labels: Labels, key: string): string | undefined {
  return Object.hasOwn(labels, key) ? labels[key] : undefined
}

function holds({ operator, values }: SelectorTerm, value: string | undefined): boolean {
  switch (operator) {
    case 'In':
      return value !== undefined && values.includes(value)
    case 'NotIn':
      // A label that is absent is not among the values.
      return value === undefined || !values.includes(value)
    case 'Exists':
      return value !== undefined
    case 'DoesNotExist':
      return value === undefined
  }
}
