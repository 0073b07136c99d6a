// The segments that cross the borders of blocks.

include { allInOrder ; inBatches } from './inputs'
include { AGGLOMERATE } from '../modules/inference/agglomerate'
include { JOIN_SEGMENTS } from '../modules/inference/join_segments'

// Supervoxels into segments. By overlaps batch by batch (a single batch needs no joining); by affinities in one task, for
// what is joined first depends on all.
workflow JOIN_SUPERVOXELS {
    take:
    overlaps // queue of [meta, table]
    options // map of checked parameters

    main:
    at_once = options.segmentation != 'classic'
    whole = allInOrder(overlaps).map { all -> [[id: 'all', block: 'all'], all.collect { one -> one[1] }] }
    AGGLOMERATE(at_once ? whole : inBatches(overlaps), options.flags.agglomerate)
    borders = allInOrder(AGGLOMERATE.out.border)
        .filter { all -> all.size() > 0 }
        .branch { all ->
            single: all.size() == 1
            several: true
        }
    JOIN_SEGMENTS(borders.several.map { all -> [all.collect { one -> one[0].id }, all.collect { one -> one[1] }] }, options.flags.join_segments)
    joined = borders.single.map { all -> [all[0][0].id, []] }
        .mix(JOIN_SEGMENTS.out.joined.flatten().map { file -> [file.baseName, file] })
    forest = AGGLOMERATE.out.forest
    numbered = AGGLOMERATE.out.components.map { meta, table -> [meta.id, table] }.join(joined)
    batches = overlaps.map { meta, _table -> meta.batch }.unique()
    components = at_once ? batches.combine(numbered.map { one -> one.drop(1) }) : numbered

    emit:
    forest // of `learned`: joins with their scores, to be cut at any threshold
    components // queue of [batch, components, what joins them with others or nothing]
}
