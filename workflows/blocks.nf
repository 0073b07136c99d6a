// Blocks of one volume, back into one store. A single block is the store already.

include { firstShard } from './inputs'
include { JOIN } from '../modules/transform/join'

workflow JOIN_BLOCKS {
    take:
    blocks // queue of [meta, store, manifest]

    main:
    gathered = blocks
        .toSortedList { a, b -> firstShard(a[0]) <=> firstShard(b[0]) }
        .filter { all -> all.size() > 0 }
        .branch { all ->
            single: all.size() == 1
            several: true
        }
    single = gathered.single.map { all -> [all[0][1], all[0][2]] }
    JOIN(gathered.several.map { all -> [all[0][1].name, all.collect { b -> b[1] }, all.collect { b -> b[2] }] })
    volume = single.mix(JOIN.out.volume).first()

    emit:
    volume // value: [store, manifest]
}
