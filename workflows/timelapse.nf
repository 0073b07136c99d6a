// Time-lapse movie -> cells, tracks, backgrounds, crops, traces; a task works on a batch of fields of view.

include { along ; byContent ; byName ; inParts ; inspectedIn ; metasOf ; ofRole ; settled ; sourceOf ; sourcesAtStart ; unlisted } from './inputs'
include { LIST_FILES } from '../modules/ingest/list_files'
include { INSPECT_MOVIE } from '../modules/ingest/inspect_movie'
include { ESTIMATE_MOVIE } from '../modules/ingest/estimate_movie'
include { CHECK_INPUTS } from '../modules/serving/check_inputs'
include { COPY_MOVIE } from '../modules/ingest/copy_movie'
include { READ_DETECTIONS } from '../modules/ingest/read_detections'
include { SEGMENT_CELLS } from '../modules/inference/segment_cells'
include { TRACK_CELLS } from '../modules/inference/track_cells'
include { ESTIMATE_BACKGROUND } from '../modules/transform/estimate_background'
include { CROP_CELLS } from '../modules/postprocess/crop_cells'
include { EXTRACT_TRACES } from '../modules/postprocess/extract_traces'
include { EXPORT_TRACKS } from '../modules/serving/export_tracks'
include { PUBLISH_FOVS } from '../modules/serving/publish_fovs'
include { MOVIE_FIGURES } from '../modules/serving/movie_figures'
include { FIT_TRACES } from '../modules/serving/fit_traces'
include { MERGE_SAMPLES } from '../modules/serving/merge_samples'
include { SUMMARIZE } from '../modules/serving/summarize'
include { REPORT } from '../modules/serving/report'

workflow TIMELAPSE {
    take:
    options // map of checked parameters

    main:
    found = channel.fromList(sourcesAtStart([input: options.input, detections: options.copy_only ? '' : options.detections]))
    LIST_FILES(unlisted(found))
    sources = settled(found, LIST_FILES.out.listing)
    source = ofRole(sources, 'input').first()
    // What every task of a stage gets is a value channel: a queue would be empty after the first of them.
    plugins = channel.value(options.plugins ? sourceOf('plugins', options.plugins).drop(1) : [[], ''])
    sheet = channel.value(options.samples ? sourceOf('samples', options.samples)[1] : [])
    INSPECT_MOVIE(source, options.flags.inspect_movie)
    given = options.detections && !options.copy_only ? ofRole(sources, 'detections').first() : channel.value(['detections', [], ''])
    facts = INSPECT_MOVIE.out.facts.map { known -> byContent(known) }
    ESTIMATE_MOVIE(facts, options.flags.estimate_movie)
    ESTIMATE_MOVIE.out.sizes.view { file -> file.text }
    batches = INSPECT_MOVIE.out.batches.flatMap { list -> metasOf(list) }
    if (!options.copy_only) {
        // What only late stages need is checked before any work; that it was is no input of that work.
        CHECK_INPUTS(facts, INSPECT_MOVIE.out.batches, sheet, plugins, given, options.flags.check_inputs)
        batches = batches.combine(CHECK_INPUTS.out.checked).map { meta, _checked -> meta }
    }

    COPY_MOVIE(inParts(source), facts, batches, options.flags.copy_movie)
    movie = COPY_MOVIE.out.movie
    stores = movie.map { meta, store, manifest -> [meta, [store], [manifest]] }
    nothing = movie.map { meta, _store, _manifest -> [meta, [], []] }
    tables = channel.empty()
    figures = channel.empty()

    with_cells = !options.copy_only && (options.detections || options.pc_channel != null)
    with_background = !options.copy_only && options.fl_channels
    labels = nothing
    if (with_cells) {
        if (options.detections) {
            keys = CHECK_INPUTS.out.detections.flatMap { list -> metasOf(list) }.map { row -> [row.id, row.files] }
            keyed = batches.map { meta -> [meta.id, meta] }.join(keys).map { row -> row.drop(1) }
            READ_DETECTIONS(inParts(given), facts, keyed, options.flags.read_detections)
            labels = READ_DETECTIONS.out.labels
        }
        else {
            SEGMENT_CELLS(movie, facts, plugins, options.flags.segment_cells)
            labels = SEGMENT_CELLS.out.labels
        }
        stores = along(stores, labels)
    }
    else if (!options.copy_only) {
        log.warn('no --pc_channel and no --detections: segmentation, tracking, crops and traces are skipped')
    }

    background = nothing
    if (with_background) {
        ESTIMATE_BACKGROUND(movie.join(labels), facts, plugins, options.flags.estimate_background)
        background = ESTIMATE_BACKGROUND.out.background
        stores = along(stores, background)
    }

    if (with_cells) {
        TRACK_CELLS(labels, facts, plugins, options.flags.track_cells)
        tracked = TRACK_CELLS.out.tracked
        everything = movie.join(tracked).join(background)
        stores = along(stores, tracked)
        if (options.crops) {
            CROP_CELLS(everything, facts, options.flags.crop_cells)
            stores = along(stores, CROP_CELLS.out.cells)
        }
        EXTRACT_TRACES(everything, facts, plugins, options.flags.extract_traces)
        EXPORT_TRACKS(labels.join(tracked), facts, options.flags.export_tracks)
        stores = along(stores, EXTRACT_TRACES.out.traces)
        // Batches without a field of view that gets figures need no task.
        drawn = batches.take((options.figure_fovs + options.batch_size - 1).intdiv(options.batch_size).toInteger())
        MOVIE_FIGURES(
            movie.join(tracked).join(EXTRACT_TRACES.out.traces).join(drawn.map { meta -> [meta] }), facts, options.flags.movie_figures
        )
        figures = MOVIE_FIGURES.out.figures
        if (options.fit) {
            FIT_TRACES(EXTRACT_TRACES.out.traces, facts, plugins, options.flags.fit_traces)
            figures = figures.mix(FIT_TRACES.out.figures)
        }
        if (options.samples) {
            // Traces that somebody has looked through since an earlier run are preferred.
            MERGE_SAMPLES(
                byName(EXTRACT_TRACES.out.tables), inspectedIn(options.outdir),
                sheet, facts, options.flags.merge_samples,
            )
        }
    }

    PUBLISH_FOVS(stores, facts, options.flags.publish_fovs)
    records = channel.topic('records')
    SUMMARIZE(facts, byName(records), options.flags.summarize)
    tables = tables.mix(SUMMARIZE.out.table)
    REPORT(byName(records.mix(SUMMARIZE.out.provenance)), byName(figures), byName(tables), 'report', options.flags.report)
}
