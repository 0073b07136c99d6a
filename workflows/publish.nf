// Volumes as they are published. Where one is divided, the lower levels of its pyramid are made block by block.

include { metasOf ; sorted } from './inputs'
include { MULTISCALE } from '../modules/serving/multiscale'
include { PYRAMID } from '../modules/serving/pyramid'

workflow PUBLISH {
    take:
    volumes // queue of [name, store, manifest, labels or [], their manifest or []]
    superblocks // the list of them that ingest made
    options // map of checked parameters

    main:
    cases = volumes
        .combine(superblocks.map { list -> [metasOf(list)] })
        .branch { row ->
            divided: row[5].size() > 1 && makesLevels(row[0], options)
            whole: true
        }
    PYRAMID(cases.divided.flatMap { row -> row[5].collect { meta -> row[0..4] + [meta + [of: row[5].size()]] } }, options.flags.pyramid)
    gathered = PYRAMID.out.levels
        .map { name, meta, store, manifest -> [groupKey(name, meta.of), [meta, store, manifest]] }
        .groupTuple()
        .map { key, parts -> [key.target, sorted(parts.toList())] }
        .map { name, parts -> [name, parts.collect { part -> part[1] }, parts.collect { part -> part[2] }] }
    MULTISCALE(
        cases.whole.map { row -> row[0..4] + [[], []] }.mix(cases.divided.map { row -> row[0..4] }.join(gathered)),
        options.flags.multiscale,
    )
    volume = MULTISCALE.out.volume

    emit:
    volume // queue: [store, manifest]
}

// Whether there is anything to make but a link to level 0. That of the aligned volume changes its type.
def makesLevels(name, options) {
    return name == 'aligned' || options.ome_zarr_version == '0.4' || (!options.save_minimal && options.max_levels > 1)
}
