// What was divided, together again: the stores of blocks, and the segments that cross their borders.

include { allInOrder ; inBatches } from './inputs'
include { AGGLOMERATE } from '../modules/inference/agglomerate'
include { JOIN_SEGMENTS } from '../modules/inference/join_segments'
include { JOIN } from '../modules/transform/join'

// Blocks of one volume, back into one store. A single block is the store already.
workflow JOIN_BLOCKS {
    take:
    blocks // queue of [meta, store, manifest]
    flags // of all stages

    main:
    gathered = allInOrder(blocks)
        .filter { all -> all.size() > 0 }
        .branch { all ->
            single: all.size() == 1
            several: true
        }
    single = gathered.single.map { all -> [all[0][1], all[0][2]] }
    JOIN(gathered.several.map { all -> [all[0][1].name, all.collect { b -> b[1] }, all.collect { b -> b[2] }] }, flags.join)
    volume = single.mix(JOIN.out.volume).first()

    emit:
    volume // value: [store, manifest]
}

// Supervoxels into segments, batch by batch; a single batch needs no joining.
workflow JOIN_SUPERVOXELS {
    take:
    overlaps // queue of [meta, table]
    flags // of all stages

    main:
    AGGLOMERATE(inBatches(overlaps), flags.agglomerate)
    borders = allInOrder(AGGLOMERATE.out.border)
        .filter { all -> all.size() > 0 }
        .branch { all ->
            single: all.size() == 1
            several: true
        }
    JOIN_SEGMENTS(borders.several.map { all -> [all.collect { one -> one[0].id }, all.collect { one -> one[1] }] }, flags.join_segments)
    joined = borders.single.map { all -> [all[0][0].id, []] }
        .mix(JOIN_SEGMENTS.out.joined.flatten().map { file -> [file.baseName, file] })
    components = AGGLOMERATE.out.components.map { meta, table -> [meta.id, table] }.join(joined)

    emit:
    components // queue of [batch, components, what joins them with others or nothing]
}
