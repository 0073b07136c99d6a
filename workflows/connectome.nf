// EM volume -> aligned volume, neurites, synapse candidates, wiring graph.

include { INGEST } from '../modules/ingest/ingest'
include { INGEST as INGEST_TRUTH } from '../modules/ingest/ingest'
include { SIMULATE_MISALIGNMENT } from '../modules/transform/simulate_misalignment'
include { PREPROCESS } from '../modules/transform/preprocess'
include { ALIGN_PAIRS } from '../modules/transform/align_pairs'
include { ALIGN } from '../modules/transform/align'
include { RENDER } from '../modules/transform/render'
include { SEGMENT } from '../modules/inference/segment'
include { AGGLOMERATE } from '../modules/inference/agglomerate'
include { EXPORT_LABELS } from '../modules/postprocess/export_labels'
include { SYNAPSES } from '../modules/postprocess/synapses'
include { GRAPH } from '../modules/postprocess/graph'
include { EVALUATE } from '../modules/postprocess/evaluate'
include { MULTISCALE } from '../modules/serving/multiscale'
include { FIGURES } from '../modules/serving/figures'
include { REPORT } from '../modules/serving/report'
include { JOIN_BLOCKS as JOIN_JITTERED } from './blocks'
include { JOIN_BLOCKS as JOIN_PREPROCESSED } from './blocks'
include { JOIN_BLOCKS as JOIN_ALIGNED } from './blocks'
include { JOIN_BLOCKS as JOIN_SUPERVOXELS } from './blocks'
include { JOIN_BLOCKS as JOIN_LABELS } from './blocks'

workflow CONNECTOME {
    take:
    options // map of checked parameters

    main:
    INGEST(Inputs.source('raw', options.input), Voxelmill.flags(options, 'ingest'))
    blocks = INGEST.out.blocks.flatMap { list -> Inputs.blocks(list) }
    slabs = INGEST.out.slabs.flatMap { list -> Inputs.blocks(list) }
    facts = INGEST.out.facts
    records = INGEST.out.provenance

    acquired = INGEST.out.volume
    if (options.simulate_misalignment) {
        SIMULATE_MISALIGNMENT(INGEST.out.volume, blocks, Voxelmill.flags(options, 'simulate_misalignment'))
        JOIN_JITTERED(SIMULATE_MISALIGNMENT.out.volume)
        acquired = JOIN_JITTERED.out.volume
        records = records.mix(SIMULATE_MISALIGNMENT.out.provenance)
    }

    PREPROCESS(acquired, facts, blocks, Voxelmill.flags(options, 'preprocess'))
    JOIN_PREPROCESSED(PREPROCESS.out.volume)
    preprocessed = JOIN_PREPROCESSED.out.volume

    ALIGN_PAIRS(preprocessed, facts, slabs, Voxelmill.flags(options, 'align_pairs'))
    ALIGN(Inputs.inOrder(ALIGN_PAIRS.out.pairs), facts, preprocessed, Voxelmill.flags(options, 'align'))
    RENDER(preprocessed, ALIGN.out.transforms, blocks, Voxelmill.flags(options, 'render'))
    JOIN_ALIGNED(RENDER.out.volume)
    aligned = JOIN_ALIGNED.out.volume

    SEGMENT(aligned, slabs, Voxelmill.flags(options, 'segment'))
    JOIN_SUPERVOXELS(SEGMENT.out.volume)
    AGGLOMERATE(Inputs.inOrder(SEGMENT.out.overlaps), Voxelmill.flags(options, 'agglomerate'))
    EXPORT_LABELS(JOIN_SUPERVOXELS.out.volume, AGGLOMERATE.out.segments, blocks, Voxelmill.flags(options, 'export_labels'))
    JOIN_LABELS(EXPORT_LABELS.out.volume)
    labels = JOIN_LABELS.out.volume

    SYNAPSES(aligned, labels, blocks, Voxelmill.flags(options, 'synapses'))
    GRAPH(Inputs.inOrder(SYNAPSES.out.candidates), labels, Voxelmill.flags(options, 'graph'))

    tables = GRAPH.out.tables.mix(ALIGN.out.table)
    if (options.truth) {
        INGEST_TRUTH(Inputs.source('truth', options.truth), Voxelmill.flags(options, 'ingest'))
        EVALUATE(labels, INGEST_TRUTH.out.volume, ALIGN.out.transforms, Voxelmill.flags(options, 'evaluate'))
        tables = tables.mix(EVALUATE.out.score)
        records = records.mix(INGEST_TRUTH.out.provenance, EVALUATE.out.provenance)
    }

    published = aligned.combine(labels).map { store, manifest, label, label_manifest -> ['aligned', store, manifest, label, label_manifest] }
    if (!options.save_minimal) {
        published = published.mix(INGEST.out.volume.map { store, manifest -> ['raw', store, manifest, [], []] })
    }
    MULTISCALE(published, Voxelmill.flags(options, 'multiscale'))
    FIGURES(acquired, preprocessed, aligned, labels, ALIGN.out.table, GRAPH.out.tables, Voxelmill.flags(options, 'figures'))

    records = records.mix(
        PREPROCESS.out.provenance, ALIGN_PAIRS.out.provenance, ALIGN.out.provenance, RENDER.out.provenance,
        SEGMENT.out.provenance, AGGLOMERATE.out.provenance, EXPORT_LABELS.out.provenance,
        SYNAPSES.out.provenance, GRAPH.out.provenance, MULTISCALE.out.provenance, FIGURES.out.provenance,
    )
    REPORT(records.flatten().toSortedList(Inputs.byName()), FIGURES.out.figures, tables.flatten().toSortedList(Inputs.byName()),
        "connectome ${options.input}", Voxelmill.flags(options, 'report'))
}
