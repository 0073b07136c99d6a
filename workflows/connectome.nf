// EM volume -> aligned volume, neurites, synapse candidates, wiring graph.

include { byName ; filesInOrder ; metasOf ; ofRole ; settled ; sourcesAtStart ; unlisted } from './inputs'
include { LIST_FILES } from '../modules/ingest/list_files'
include { ESTIMATE } from '../modules/ingest/estimate'
include { INGEST } from '../modules/ingest/ingest'
include { INGEST as INGEST_TRUTH } from '../modules/ingest/ingest'
include { SIMULATE_MISALIGNMENT } from '../modules/transform/simulate_misalignment'
include { PREPROCESS } from '../modules/transform/preprocess'
include { ALIGN_PAIRS } from '../modules/transform/align_pairs'
include { ALIGN } from '../modules/transform/align'
include { RENDER } from '../modules/transform/render'
include { SEGMENT } from '../modules/inference/segment'
include { EXPORT_LABELS } from '../modules/postprocess/export_labels'
include { SYNAPSES } from '../modules/postprocess/synapses'
include { GRAPH } from '../modules/postprocess/graph'
include { EVALUATE } from '../modules/postprocess/evaluate'
include { FIGURES } from '../modules/serving/figures'
include { REPORT } from '../modules/serving/report'
include { SCENE } from '../modules/serving/scene'
include { READ_SLABS } from './slabs'
include { READ_SLABS as READ_TRUTH } from './slabs'
include { JOIN_BLOCKS as JOIN_JITTERED } from './blocks'
include { JOIN_BLOCKS as JOIN_PREPROCESSED } from './blocks'
include { JOIN_BLOCKS as JOIN_ALIGNED } from './blocks'
include { JOIN_BLOCKS as JOIN_LABELS } from './blocks'
include { JOIN_BLOCKS as JOIN_SUPERVOXEL_STORES } from './blocks'
include { JOIN_SUPERVOXELS } from './blocks'
include { PUBLISH } from './publish'

workflow CONNECTOME {
    take:
    options // map of checked parameters

    main:
    found = channel.fromList(sourcesAtStart([raw: options.input, truth: options.truth]))
    LIST_FILES(unlisted(found))
    sources = settled(found, LIST_FILES.out.listing)
    // A queue for INGEST, whose outputs may be missing; for all others volumes, facts and transforms are value channels
    // (`first`, or made of values alone): a queue would be empty after the first task of a stage.
    input = ofRole(sources, 'raw')
    ESTIMATE(input, options.flags.estimate)
    INGEST(input, [], options.flags.ingest)
    READ_SLABS(input.first(), INGEST.out.plan, INGEST.out.volume, INGEST.out.facts, options.flags)
    blocks = INGEST.out.blocks.flatMap { list -> metasOf(list) }
    slabs = INGEST.out.slabs.flatMap { list -> metasOf(list) }
    facts = READ_SLABS.out.facts

    acquired = READ_SLABS.out.volume
    if (options.simulate_misalignment) {
        SIMULATE_MISALIGNMENT(acquired, blocks, options.flags.simulate_misalignment)
        JOIN_JITTERED(SIMULATE_MISALIGNMENT.out.volume, options.flags)
        acquired = JOIN_JITTERED.out.volume
    }

    PREPROCESS(acquired, facts, blocks, options.flags.preprocess)
    JOIN_PREPROCESSED(PREPROCESS.out.volume, options.flags)
    preprocessed = JOIN_PREPROCESSED.out.volume

    ALIGN_PAIRS(preprocessed, facts, slabs, options.flags.align_pairs)
    ALIGN(filesInOrder(ALIGN_PAIRS.out.pairs), facts, preprocessed, options.flags.align)
    RENDER(preprocessed, ALIGN.out.transforms, blocks, options.flags.render)
    JOIN_ALIGNED(RENDER.out.volume, options.flags)
    aligned = JOIN_ALIGNED.out.volume

    SEGMENT(aligned, slabs, options.flags.segment)
    JOIN_SUPERVOXEL_STORES(SEGMENT.out.volume, options.flags)
    JOIN_SUPERVOXELS(SEGMENT.out.overlaps, options.flags)
    EXPORT_LABELS(
        SEGMENT.out.volume.map { meta, store, manifest -> [meta.batch, meta, store, manifest] }
            .combine(JOIN_SUPERVOXELS.out.components, by: 0)
            .map { one -> one.drop(1) },
        options.flags.export_labels,
    )
    JOIN_LABELS(EXPORT_LABELS.out.volume, options.flags)
    labels = JOIN_LABELS.out.volume

    SYNAPSES(aligned, labels, blocks, options.flags.synapses)
    GRAPH(filesInOrder(SYNAPSES.out.candidates), labels, options.flags.graph)

    tables = GRAPH.out.tables.mix(ALIGN.out.table)
    if (options.truth) {
        truth = ofRole(sources, 'truth')
        INGEST_TRUTH(truth, facts, options.flags.ingest_truth)
        READ_TRUTH(truth.first(), INGEST_TRUTH.out.plan, INGEST_TRUTH.out.volume, INGEST_TRUTH.out.facts, options.flags)
        EVALUATE(labels, READ_TRUTH.out.volume, ALIGN.out.transforms, options.flags.evaluate)
        tables = tables.mix(EVALUATE.out.score)
    }

    published = aligned.combine(labels).map { store, manifest, label, label_manifest -> ['aligned', store, manifest, label, label_manifest] }
    published = published.mix(JOIN_SUPERVOXEL_STORES.out.volume.map { store, manifest -> ['supervoxels', store, manifest, [], []] })
    if (!options.save_minimal) {
        published = published.mix(READ_SLABS.out.volume.map { store, manifest -> ['raw', store, manifest, [], []] })
    }
    PUBLISH(published, INGEST.out.superblocks, options)
    // From aligned to raw, so not where raw was jittered in between, or is not published.
    if (options.ome_zarr_version == '0.6' && !options.save_minimal && !options.simulate_misalignment) {
        SCENE(ALIGN.out.transforms, aligned, options.flags.scene)
    }
    FIGURES(acquired, preprocessed, aligned, labels, ALIGN.out.table, GRAPH.out.tables, options.flags.figures)

    REPORT(byName(channel.topic('records')), FIGURES.out.figures, byName(tables), options.flags.report)
}
