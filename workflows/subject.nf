// One stack -> the subject's volume with its levels, as one file, and its pictures. A part of `reconstruct`.

include { allInOrder ; atlasOf ; metasOf } from './inputs'
include { PLAN_LEVELS } from '../modules/serving/plan_levels'
include { MAKE_LEVELS } from '../modules/serving/make_levels'
include { PUBLISH_VOLUME } from '../modules/serving/publish_volume'
include { ZIP_VOLUME } from '../modules/serving/zip_volume'
include { EXPORT_NIFTI } from '../modules/serving/export_nifti'
include { FIT_BIAS_FIELD } from '../modules/transform/fit_bias_field'
include { CORRECT_BIAS_FIELD } from '../modules/transform/correct_bias_field'
include { JOIN_LEVELS as JOIN_CORRECTED } from '../modules/serving/join_levels'
include { REGISTER_TO_ATLAS } from '../modules/transform/register_to_atlas'
include { ALIGN_TO_RAS } from '../modules/transform/align_to_ras'
include { JOIN_LEVELS as JOIN_RAS } from '../modules/serving/join_levels'
include { VOLUME_PREVIEW } from '../modules/serving/volume_preview'

workflow SUBJECT {
    take:
    stack // [store, manifest], a value channel
    plan // where the slices lie in it, a value channel
    subject // its name
    options // map of checked parameters

    main:
    PLAN_LEVELS(stack, options.flags.plan_levels)
    MAKE_LEVELS(stack, PLAN_LEVELS.out.blocks.flatMap { list -> metasOf(list) }, options.flags.make_levels)
    PUBLISH_VOLUME(subject, stack, partsOf(MAKE_LEVELS.out.levels), options.flags.publish_volume)
    volume = PUBLISH_VOLUME.out.volume
    published = volume.map { store, manifest -> ['stack', subject, store, manifest] }
    if (options.zip_volume) {
        ZIP_VOLUME(volume, options.flags.zip_volume)
    }
    VOLUME_PREVIEW(subject, volume, plan, options.flags.volume_preview)
    pictures = VOLUME_PREVIEW.out.pictures

    if (options.correct_bias_field) {
        FIT_BIAS_FIELD(subject, volume, plan, options.flags.fit_bias_field)
        CORRECT_BIAS_FIELD(volume, FIT_BIAS_FIELD.out.bias, FIT_BIAS_FIELD.out.blocks.flatMap { list -> metasOf(list) }, options.flags.correct_bias_field)
        corrected = ['correct_bias_field', "${subject}_corrected".toString()]
        JOIN_CORRECTED(corrected, volume, partsOf(CORRECT_BIAS_FIELD.out.levels), options.flags.join_levels)
        volume = JOIN_CORRECTED.out.volume
        published = published.mix(volume.map { store, manifest -> corrected + [store, manifest] })
    }
    if (options.align_to_ras_enabled) {
        REGISTER_TO_ATLAS(subject, volume, channel.value(atlasOf(options)), options.flags.register_to_atlas)
        pictures = pictures.mix(REGISTER_TO_ATLAS.out.picture)
        ALIGN_TO_RAS(volume, REGISTER_TO_ATLAS.out.template, REGISTER_TO_ATLAS.out.blocks.flatMap { list -> metasOf(list) }, options.flags.align_to_ras)
        ras = ['align_to_ras', "${subject}_ras".toString()]
        // With --ras_preview_only there is no template, and no task from here on.
        JOIN_RAS(ras, REGISTER_TO_ATLAS.out.template, partsOf(ALIGN_TO_RAS.out.levels), options.flags.join_levels)
        published = published.mix(JOIN_RAS.out.volume.map { store, manifest -> ras + [store, manifest] })
    }
    if (options.nifti) {
        EXPORT_NIFTI(published, options.flags.export_nifti)
    }

    emit:
    volume // [store, manifest]
    pictures
}

// Blocks of levels, [meta, store, manifest], as [stores, manifests] in order: a value channel, also where there are none.
def partsOf(levels) {
    return allInOrder(levels).map { all -> [all.collect { one -> one[1] }, all.collect { one -> one[2] }] }
}
