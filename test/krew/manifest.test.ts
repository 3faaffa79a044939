/** The manifest of the kubectl plugin against what krew checks before it takes one (ValidatePlugin of sigs.k8s.io/krew), and against what the archive holds. */

import { readFile } from 'node:fs/promises'
import { expect } from 'chai'
import { load } from 'js-yaml'

import { krewManifest } from '../../hack/krew/manifest.ts'
import type { Release } from '../../hack/krew/manifest.ts'
import { objectAt, objectsAt, textAt } from '../../src/policy/json.ts'
import type { Json } from '../../src/policy/json.ts'

const RELEASE: Release = { version: 'v0.1.0', homepage: 'https://steno.example', base: 'https://steno.example/v0.1.0', sha256: { linux_amd64: 'a'.repeat(64), linux_arm64: 'b'.repeat(64) } }

describe('krew manifest', () => {
  let template: string
  before(async () => {
    template = await readFile(new URL('../../hack/krew/steno.yaml', import.meta.url), 'utf8')
  })

  it('is one that krew takes once a release has filled it in', () => {
    const manifest = load(krewManifest(template, RELEASE)) as Json
    expect([textAt(manifest, 'apiVersion'), textAt(manifest, 'kind'), textAt(objectAt(manifest, 'metadata'), 'name')]).to.deep.equal(['krew.googlecontainertools.github.com/v1alpha2', 'Plugin', 'steno'])
    const spec = objectAt(manifest, 'spec')
    expect(Object.keys(spec)).to.have.members(['version', 'homepage', 'shortDescription', 'description', 'caveats', 'platforms'])
    expect(textAt(spec, 'version')).to.equal('v0.1.0')
    expect(textAt(spec, 'shortDescription')).to.match(/^.{1,50}$/)
    const platforms = objectsAt(spec, 'platforms')
    expect(platforms.map(each => objectAt(objectAt(each, 'selector'), 'matchLabels'))).to.deep.equal([{ os: 'linux', arch: 'amd64' }, { os: 'linux', arch: 'arm64' }])
    for (const each of platforms) {
      expect(Object.keys(each)).to.have.members(['selector', 'uri', 'sha256', 'bin', 'files'])
      expect(textAt(each, 'uri')).to.match(/^https:\/\/steno\.example\/v0\.1\.0\/steno_linux_(?:amd64|arm64)\.tar\.gz$/)
      expect(textAt(each, 'sha256')).to.match(/^[a-f0-9]{64}$/)
      expect(objectsAt(each, 'files')).to.not.be.empty
      for (const file of objectsAt(each, 'files')) expect([textAt(file, 'from'), textAt(file, 'to')]).to.not.include(undefined)
      // What is run is one of the files.
      expect(objectsAt(each, 'files').map(file => textAt(file, 'from'))).to.include(textAt(each, 'bin'))
    }
    expect(platforms.map(each => textAt(each, 'sha256'))).to.deep.equal(['a'.repeat(64), 'b'.repeat(64)])
  })

  it('is refused when something is missing or not as krew wants it', () => {
    expect(() => krewManifest(template, { ...RELEASE, version: '0.1.0' })).to.throw('v0.1.0')
    expect(() => krewManifest(template, { ...RELEASE, base: 'http://steno.example' })).to.throw('https')
    expect(() => krewManifest(template, { ...RELEASE, sha256: { linux_amd64: 'a'.repeat(64) } })).to.throw('linux_arm64')
  })
})
