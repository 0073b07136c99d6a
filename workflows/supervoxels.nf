// The segments that cross the borders of blocks.

include { allInOrder ; inBatches } from './inputs'
include { AGGLOMERATE } from '../modules/inference/agglomerate'
include { JOIN_SEGMENTS } from '../modules/inference/join_segments'

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
