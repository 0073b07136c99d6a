// EM volume -> aligned volume, neurites, synapse candidates, wiring graph.

include { allInOrder ; batchesOf ; byName ; columns ; filesInOrder ; inSuperblocks ; joined ; metasOf ; ofRole ; settled ; several ; sourceOf ; sourcesAtStart ; unlisted ; withLevels } from './inputs'
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
include { SHAPES } from '../modules/postprocess/shapes'
include { SYNAPSES } from '../modules/postprocess/synapses'
include { GRAPH } from '../modules/postprocess/graph'
include { EVALUATE } from '../modules/postprocess/evaluate'
include { FIGURES } from '../modules/serving/figures'
include { NEURITES } from '../modules/serving/neurites'
include { NEURONS } from '../modules/serving/neurons'
include { REPORT } from '../modules/serving/report'
include { SCENE } from '../modules/serving/scene'
include { READ_SLABS } from './slabs'
include { READ_SLABS as READ_TRUTH } from './slabs'
include { JOIN as JOIN_JITTERED } from '../modules/transform/join'
include { JOIN as JOIN_PREPROCESSED } from '../modules/transform/join'
include { JOIN as JOIN_ALIGNED } from '../modules/transform/join'
include { JOIN as JOIN_LABELS } from '../modules/transform/join'
include { JOIN as JOIN_SUPERVOXEL_STORES } from '../modules/transform/join'
include { JOIN_SUPERVOXELS } from './supervoxels'
include { MULTISCALE } from '../modules/serving/multiscale'
include { PYRAMID } from '../modules/serving/pyramid'

workflow CONNECTOME {
    take:
    options // map of checked parameters

    main:
    given = channel.fromList(sourcesAtStart([raw: options.input, truth: options.truth]))
    LIST_FILES(unlisted(given))
    sources = settled(given, LIST_FILES.out.listing)
    // A queue for INGEST, whose outputs may be missing; for all others volumes, facts and transforms are value channels
    // (`first`, or made of values alone): a queue would be empty after the first task of a stage.
    input = ofRole(sources, 'raw')
    ESTIMATE(input, options.flags.estimate)
    ESTIMATE.out.sizes.view { file -> file.text }
    INGEST(input, [], options.flags.ingest)
    READ_SLABS(input.first(), INGEST.out.plan, INGEST.out.volume, INGEST.out.facts, options.flags)
    blocks = INGEST.out.blocks.flatMap { list -> metasOf(list) }
    slabs = INGEST.out.slabs.flatMap { list -> metasOf(list) }
    facts = READ_SLABS.out.facts

    acquired = READ_SLABS.out.volume
    if (options.simulate_misalignment) {
        SIMULATE_MISALIGNMENT(acquired, blocks, options.flags.simulate_misalignment)
        JOIN_JITTERED(several(SIMULATE_MISALIGNMENT.out.volume), options.flags.join)
        acquired = joined(SIMULATE_MISALIGNMENT.out.volume, JOIN_JITTERED.out.volume)
    }

    PREPROCESS(acquired, facts, blocks, options.flags.preprocess)
    JOIN_PREPROCESSED(several(PREPROCESS.out.volume), options.flags.join)
    preprocessed = joined(PREPROCESS.out.volume, JOIN_PREPROCESSED.out.volume)

    ALIGN_PAIRS(preprocessed, facts, slabs, options.flags.align_pairs)
    ALIGN(filesInOrder(ALIGN_PAIRS.out.pairs), facts, preprocessed, options.flags.align)
    RENDER(preprocessed, ALIGN.out.transforms, blocks, options.flags.render)
    JOIN_ALIGNED(several(RENDER.out.volume), options.flags.join)
    aligned = joined(RENDER.out.volume, JOIN_ALIGNED.out.volume)

    model = channel.value(options.model ? sourceOf('model', options.model).drop(1) : [[], ''])
    SEGMENT(aligned, slabs, model, options.flags.segment)
    JOIN_SUPERVOXEL_STORES(several(SEGMENT.out.volume), options.flags.join)
    pieces = joined(SEGMENT.out.volume, JOIN_SUPERVOXEL_STORES.out.volume)
    JOIN_SUPERVOXELS(SEGMENT.out.overlaps, options)
    EXPORT_LABELS(
        SEGMENT.out.volume.map { meta, store, manifest -> [meta.batch, meta, store, manifest] }
            .combine(JOIN_SUPERVOXELS.out.components, by: 0)
            .map { one -> one.drop(1) },
        options.flags.export_labels,
    )
    JOIN_LABELS(several(EXPORT_LABELS.out.volume), options.flags.join)
    labels = joined(EXPORT_LABELS.out.volume, JOIN_LABELS.out.volume)

    synapse_model = channel.value(options.synapse_model ? sourceOf('synapse_model', options.synapse_model).drop(1) : [[], ''])
    SYNAPSES(aligned, labels, pieces, blocks, synapse_model, options.flags.synapses)
    GRAPH(filesInOrder(SYNAPSES.out.candidates), labels, options.flags.graph)

    // Meshes and skeletons: what a block has of each neurite, then neurites in batches.
    SHAPES(labels, blocks, options.flags.shapes)
    found = allInOrder(SHAPES.out.shapes).filter { all -> all } // none where a task has ended the run
    NEURITES(labels, columns(found), found.flatMap { all -> batchesOf(all.size()) }, options.flags.neurites)
    NEURONS(columns(allInOrder(NEURITES.out.neurites).filter { all -> all }), GRAPH.out.tables, options.flags.neurons)

    tables = GRAPH.out.tables.mix(ALIGN.out.table, NEURONS.out.tables)
    curve = channel.empty()
    if (options.truth) {
        truth = ofRole(sources, 'truth')
        INGEST_TRUTH(truth, facts, options.flags.ingest_truth)
        READ_TRUTH(truth.first(), INGEST_TRUTH.out.plan, INGEST_TRUTH.out.volume, INGEST_TRUTH.out.facts, options.flags)
        learned = options.segmentation != 'classic'
        forest = learned ? JOIN_SUPERVOXELS.out.forest : channel.value([])
        tables_of_blocks = learned ? filesInOrder(SEGMENT.out.overlaps) : channel.value([])
        EVALUATE(labels, pieces, tables_of_blocks, forest, READ_TRUTH.out.volume, ALIGN.out.transforms, options.flags.evaluate)
        tables = tables.mix(EVALUATE.out.score)
        curve = EVALUATE.out.figure
    }

    published = aligned.combine(labels).map { store, manifest, label, label_manifest -> ['aligned', store, manifest, label, label_manifest] }
    published = published.mix(pieces.map { store, manifest -> ['supervoxels', store, manifest, [], []] })
    if (!options.save_minimal) {
        published = published.mix(READ_SLABS.out.volume.map { store, manifest -> ['raw', store, manifest, [], []] })
    }
    PYRAMID(inSuperblocks(published, INGEST.out.superblocks, options), options.flags.pyramid)
    MULTISCALE(withLevels(published, INGEST.out.superblocks, PYRAMID.out.levels, options), options.flags.multiscale)
    // From aligned to raw, so not where raw was jittered in between, or is not published.
    if (options.ome_zarr_version == '0.6' && !options.save_minimal && !options.simulate_misalignment) {
        SCENE(ALIGN.out.transforms, aligned, options.flags.scene)
    }
    FIGURES(acquired, preprocessed, aligned, labels, ALIGN.out.table, GRAPH.out.tables, options.flags.figures)

    drawn = byName(FIGURES.out.figures.mix(NEURONS.out.figure, curve))
    REPORT(byName(channel.topic('records')), drawn, byName(tables), 'report', options.flags.report)
}
