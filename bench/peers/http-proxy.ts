/** A proxy of `http-proxy` that records nothing. Argument: the upstream origin. */

import { Agent, createServer } from 'node:http'
import httpProxy from 'http-proxy'
import { serveBelowParent } from '../support/ready.ts'

const proxy = httpProxy.createProxyServer({ target: process.argv[2] ?? '', agent: new Agent({ keepAlive: true }) })
proxy.on('error', (_error, _req, res) => res.destroy())
serveBelowParent(createServer({ noDelay: true }, (req, res) => proxy.web(req, res)))
