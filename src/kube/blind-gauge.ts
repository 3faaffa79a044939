/** How long the copies of a cluster's objects have been blind, as the injector and the operator both tell it. */

import type { Registry } from 'prom-client'

import { loadPromClient } from '../platform/prom-client.ts'

/** @param blindMs by kind of objects, read when someone asks; milliseconds */
export function registerBlindGauge(registry: Registry, blindMs: () => Readonly<Record<string, number>>): void {
  const { Gauge } = loadPromClient()
  new Gauge({
    name: 'steno_cache_blind_seconds',
    help: 'Time since the copy of objects was last known to be current; 0 while the watch runs.',
    labelNames: ['objects'],
    registers: [registry],
    collect() {
      for (const [objects, ms] of Object.entries(blindMs())) this.set({ objects }, ms / 1000)
    },
  })
}
