// A volume that INGEST has planned, read slab by slab. One that it has read already passes through.

include { allInOrder ; metasOf } from './inputs'
include { READ_SLAB } from '../modules/ingest/read_slab'
include { JOIN_SLABS } from '../modules/ingest/join_slabs'

workflow READ_SLABS {
    take:
    source // [role, path or nothing, fingerprint], as INGEST had it
    plan // queue: [plan, list of slabs], or nothing
    whole // queue: [store, manifest] where there is no plan
    told // queue: facts where there is no plan
    flags // of all stages

    main:
    READ_SLAB(source, plan.flatMap { file, list -> metasOf(list).collect { meta -> [meta, file] } }, flags.read_slab)
    gathered = allInOrder(READ_SLAB.out.slab)
        .filter { all -> all.size() > 0 }
        .map { all -> [all.collect { s -> s[1] }, all.collect { s -> s[2] }, all.collect { s -> s[3] }] }
    JOIN_SLABS(source, plan.map { file, _list -> file }.combine(gathered.map { all -> [all] }).map { file, all -> [file] + all }, flags.join_slabs)

    volume = whole.mix(JOIN_SLABS.out.volume).first()
    facts = told.mix(JOIN_SLABS.out.facts).first()

    emit:
    volume // value: [store, manifest]
    facts // value
}
