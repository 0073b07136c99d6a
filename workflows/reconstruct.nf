// Mosaic grids of serial sections by OCT -> clean slices -> one common space, gaps of one slice filled -> one stack.

include { allInOrder ; byName ; filesInOrder ; localPath ; metasOf ; ofRole ; settled ; sourcesAtStart ; storeIn ; tableOf ; unlisted } from './inputs'
include { LIST_FILES } from '../modules/ingest/list_files'
include { LIST_SLICES } from '../modules/ingest/list_slices'
include { ESTIMATE_SLICES } from '../modules/transform/estimate_slices'
include { PREPARE_SLICE } from '../modules/transform/prepare_slice'
include { ANALYZE_SHIFTS } from '../modules/serving/analyze_shifts'
include { DETECT_REHOMING_EVENTS } from '../modules/transform/detect_rehoming_events'
include { AUTO_ASSESS_QUALITY } from '../modules/transform/auto_assess_quality'
include { ESTIMATE_GLOBAL_ILLUMINATION } from '../modules/transform/estimate_global_illumination'
include { ESTIMATE_GLOBAL_TRANSFORM } from '../modules/transform/estimate_global_transform'
include { RESAMPLE_MOSAIC_GRID } from '../modules/transform/resample_mosaic_grid'
include { FIX_FOCAL_CURVATURE } from '../modules/transform/fix_focal_curvature'
include { FIX_ILLUMINATION } from '../modules/transform/fix_illumination'
include { STITCH_3D_WITH_REFINEMENT } from '../modules/transform/stitch_3d_with_refinement'
include { BEAM_PROFILE_CORRECTION } from '../modules/transform/beam_profile_correction'
include { CROP_INTERFACE } from '../modules/transform/crop_interface'
include { NORMALIZE } from '../modules/transform/normalize'
include { PLAN_COMMON_SPACE } from '../modules/transform/plan_common_space'
include { BRING_TO_COMMON_SPACE } from '../modules/transform/bring_to_common_space'
include { INTERPOLATE_MISSING_SLICE } from '../modules/transform/interpolate_missing_slice'
include { FINALISE_INTERPOLATION } from '../modules/transform/finalise_interpolation'
include { COMMON_SPACE_PREVIEW } from '../modules/serving/common_space_preview'
include { SLICE_PREVIEW } from '../modules/serving/slice_preview'
include { STACK_SLICES } from './stack_slices'
include { SUBJECT } from './subject'
include { DIAGNOSTICS } from './diagnostics'
include { REPORT } from '../modules/serving/report'

workflow RECONSTRUCT {
    take:
    options // map of checked parameters

    main:
    System.setProperty('voxelmill.strict', "${options.strict}") // for conf/base.config
    found = channel.fromList(sourcesAtStart([input: options.input]))
    LIST_FILES(unlisted(found))
    source = ofRole(settled(found, LIST_FILES.out.listing), 'input').first()
    // Shifts and slice configuration go to many processes: value channels, and so is what is made of value channels alone.
    shifts = channel.value(tableOf(options, 'shifts_xy'))
    LIST_SLICES(source, shifts, channel.value(tableOf(options, 'slice_config')), options.flags.list_slices)
    config = LIST_SLICES.out.config
    ESTIMATE_SLICES(source, LIST_SLICES.out.slices, options.flags.estimate_slices)
    ESTIMATE_SLICES.out.sizes.view { file -> file.text }

    pictures = channel.empty()
    if (options.analyze_shifts) {
        ANALYZE_SHIFTS(shifts, options.flags.analyze_shifts)
        pictures = ANALYZE_SHIFTS.out.pictures
    }
    if (options.detect_rehoming) {
        DETECT_REHOMING_EVENTS(shifts, config, options.flags.detect_rehoming_events)
        shifts = DETECT_REHOMING_EVENTS.out.shifts
        config = DETECT_REHOMING_EVENTS.out.config
    }

    // [meta, store, manifest] of each slice, from here on; slices that were prepared before are taken as they are
    listed = LIST_SLICES.out.slices
        .flatMap { list -> metasOf(list) }
        .branch { meta ->
            ready: meta.store.startsWith('slice_')
            raw: true
        }
    grids = storesOf(listed.raw, options)
    pooled = together(grids)
    transform = channel.value([])
    if (options.stitch_global_transform) {
        ESTIMATE_GLOBAL_TRANSFORM(pooled, options.flags.estimate_global_transform)
        transform = ESTIMATE_GLOBAL_TRANSFORM.out.transform
    }
    light = channel.value([])
    if (options.fix_illum_enabled && options.fix_illum_global) {
        ESTIMATE_GLOBAL_ILLUMINATION(pooled, options.flags.estimate_global_illumination)
        light = ESTIMATE_GLOBAL_ILLUMINATION.out.light
    }
    notes = channel.empty()
    // The same steps, each a task whose output is published, or all in one: the same bytes.
    if (options.publish_intermediates) {
        if (options.resolution > 0) {
            RESAMPLE_MOSAIC_GRID(grids, options.flags.resample_mosaic_grid)
            grids = RESAMPLE_MOSAIC_GRID.out.volume
        }
        if (options.fix_curvature_enabled) {
            FIX_FOCAL_CURVATURE(grids, options.flags.fix_focal_curvature)
            grids = FIX_FOCAL_CURVATURE.out.volume
        }
        if (options.fix_illum_enabled) {
            FIX_ILLUMINATION(grids, light, options.flags.fix_illumination)
            grids = FIX_ILLUMINATION.out.volume
            notes = FIX_ILLUMINATION.out.notes
        }
        STITCH_3D_WITH_REFINEMENT(grids, transform, options.flags.stitch_3d_with_refinement)
        BEAM_PROFILE_CORRECTION(STITCH_3D_WITH_REFINEMENT.out.volume, options.flags.beam_profile_correction)
        CROP_INTERFACE(BEAM_PROFILE_CORRECTION.out.volume, options.flags.crop_interface)
        NORMALIZE(CROP_INTERFACE.out.volume, options.flags.normalize)
        prepared = NORMALIZE.out.volume
        notes = notes.mix(STITCH_3D_WITH_REFINEMENT.out.notes, BEAM_PROFILE_CORRECTION.out.notes, NORMALIZE.out.notes)
    }
    else {
        PREPARE_SLICE(grids, transform, light, options.flags.prepare_slice)
        prepared = PREPARE_SLICE.out.volume
        notes = PREPARE_SLICE.out.notes
    }
    if (options.stitch_preview) {
        SLICE_PREVIEW(prepared.join(ofSlices(notes)), options.flags.slice_preview)
        pictures = pictures.mix(SLICE_PREVIEW.out.pictures)
    }
    prepared = prepared.mix(storesOf(listed.ready, options))
    everything = together(prepared)
    if (options.auto_assess_quality) {
        AUTO_ASSESS_QUALITY(everything, shifts, config, options.flags.auto_assess_quality)
        config = AUTO_ASSESS_QUALITY.out.config
    }

    PLAN_COMMON_SPACE(everything, shifts, config, LIST_SLICES.out.slices, options.flags.plan_common_space)
    placed = PLAN_COMMON_SPACE.out.slices.flatMap { list -> metasOf(list) }.map { meta -> [meta] }.join(prepared)
    BRING_TO_COMMON_SPACE(placed, PLAN_COMMON_SPACE.out.common_space, options.publish_intermediates, options.flags.bring_to_common_space)
    brought = BRING_TO_COMMON_SPACE.out.volume
    config = PLAN_COMMON_SPACE.out.config

    if (options.common_space_preview) {
        COMMON_SPACE_PREVIEW(together(brought), options.flags.common_space_preview)
    }

    decided = channel.value([])
    if (options.interpolate_missing_slices) {
        gaps = PLAN_COMMON_SPACE.out.gaps.flatMap { list -> metasOf(list) }
        INTERPOLATE_MISSING_SLICE(withNeighbours(gaps, brought), options.publish_intermediates, options.flags.interpolate_missing_slice)
        brought = brought.mix(INTERPOLATE_MISSING_SLICE.out.volume)
        decided = filesInOrder(INTERPOLATE_MISSING_SLICE.out.manifest)
        pictures = pictures.mix(INTERPOLATE_MISSING_SLICE.out.diagnostics.flatten().filter { file -> file.name.endsWith('.png') })
    }

    STACK_SLICES(brought, PLAN_COMMON_SPACE.out.offsets, config, options)
    subject = subjectOf(options)
    SUBJECT(STACK_SLICES.out.volume, STACK_SLICES.out.plan, subject, options)

    DIAGNOSTICS(
        storesOf(listed.raw, options), brought, PLAN_COMMON_SPACE.out.common_space, STACK_SLICES.out.config,
        STACK_SLICES.out.metrics, STACK_SLICES.out.tables, subject, options,
    )

    // Published only, for people and the report: nothing waits for it. Without a gap `decided` is an empty list, not nothing.
    FINALISE_INTERPOLATION(STACK_SLICES.out.config, PLAN_COMMON_SPACE.out.offsets, STACK_SLICES.out.tables, decided, options.flags.finalise_interpolation)
    tables = STACK_SLICES.out.tables.mix(FINALISE_INTERPOLATION.out.config, PLAN_COMMON_SPACE.out.offsets)
    REPORT(
        byName(channel.topic('records')), byName(pictures.mix(SUBJECT.out.pictures, DIAGNOSTICS.out.pictures)), byName(tables),
        "${subject}_quality_report", options.flags.report,
    )
}

// What the volume is called: --subject_name, or a part `sub-...` of the input's path, or the input folder's name.
def subjectOf(options) {
    def path = localPath("${options.input}").toAbsolutePath().normalize()
    def parts = path.collect { part -> part.toString() }
    def found = options.subject_name ?: parts.find { part -> part ==~ /sub-.+/ } ?: parts.last()
    return found.replaceAll(/[^\p{L}\p{N}_.+-]/, '_').replaceFirst(/^[.-]+/, '')
}

// [stores, manifests] of all slices, in order; both are [] where there is none
def together(slices) {
    return allInOrder(slices).map { all -> [all.collect { one -> one[1] }, all.collectMany { one -> [one[2]].flatten() }] }
}

// [meta, store, manifest or []] of slices of --input
def storesOf(slices, options) {
    return slices.map { meta -> [[id: meta.id, slice: meta.slice]] + storeIn(options.input, meta.store) }
}

// [meta, file] of several steps -> [meta, all files of the slice, in order]
def ofSlices(notes) {
    return notes.groupTuple().map { meta, files -> [meta, files.toSorted { a, b -> a.name <=> b.name }] }
}

// [meta of a gap, store and manifest of the slice before, of the slice after]
def withNeighbours(gaps, slices) {
    def known = slices.map { meta, store, manifest -> [meta.id, store, manifest] }
    return gaps.map { gap -> [gap.before, gap] }
        .combine(known, by: 0)
        .map { _before, gap, store, manifest -> [gap.after, gap, store, manifest] }
        .combine(known, by: 0)
        .map { _after, gap, store, manifest, next, next_manifest -> [[id: gap.id, slice: gap.slice], store, manifest, next, next_manifest] }
}
